"""Extra outputs of a generator: a small image beside the image, for the discriminator and regularizers."""

import copy
import json

import pytest
import torch
from test_training import CPU, Silent, packed
from torch import nn
from torch.nn.functional import avg_pool2d

import ganforge
from ganforge import (
    Augmentation,
    DataSpec,
    Discriminator,
    ExtraOutputs,
    FeatureDiscriminator,
    Pair,
    PluginError,
    Regularizer,
    Step,
)
from ganforge.config.schema import resolve
from ganforge.core.seeding import seed_everything
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.testing import check_discriminator, check_generator, check_regularizer
from ganforge.testing.emulation.capture import _find_obstacle
from ganforge.testing.emulation.hooks import emulated_cuda, find_obstacle, run_apart
from ganforge.testing.emulation.training import EmulatedRun
from ganforge.testing.emulation.watch import Watch
from ganforge.training import loop
from ganforge.training.execution.cuda_graphs import GraphedSteps
from ganforge.training.execution.engine import EAGER, Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, generate_for, step_discriminator, step_generator, take_step


class TwoSizes(ExtraOutputs):
    """Images of two sizes, from two layers."""

    z_dim = 4

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        channels, self.height, self.width = data.shape
        self.begin = nn.Linear(4, 4 * (self.height // 2) * (self.width // 2))
        self.small = nn.Conv2d(4, channels, 1)
        self.grow = nn.Conv2d(4, channels, 3, padding=1)

    def outputs(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> list[torch.Tensor]:
        maps = self.begin(z).view(-1, 4, self.height // 2, self.width // 2)
        large = nn.functional.interpolate(maps, scale_factor=2.0)
        return [self.grow(large).tanh(), self.small(maps).tanh()]

    def extras_of(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> list[torch.Tensor]:
        return [avg_pool2d(images, 2)]


class BothSizes(Discriminator):
    """Judges both sizes; alone, it makes the small one itself."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.large = nn.Linear(data.shape[0] * data.shape[1] * data.shape[2], 4)
        self.small = nn.Linear(data.shape[0] * data.shape[1] * data.shape[2] // 4, 4)
        self.judge = nn.Linear(4, 1)

    def forward(self, images, labels=None, small=None):
        small = avg_pool2d(images, 2) if small is None else small
        return self.judge(torch.tanh(self.large(images.flatten(1)) + self.small(small.flatten(1)))).squeeze(1)


class Likeness(Regularizer):
    """Compares the small image with the large one, and the means of generated and real small ones."""

    def discriminator(self, step):
        (gradient,) = torch.autograd.grad(step.logits.fake.sum(), step.extras[0].fake, create_graph=True)
        step.collect("small", step.extras[0].fake)
        return gradient.square().sum() / len(gradient) + step.judge(step.images.real.flip(0)).square().mean()

    def generator(self, step):
        (small,) = step.extras
        apart = (small.fake - avg_pool2d(step.images.fake, 2)).square().mean()
        return apart + (small.fake.mean() - small.real.mean()).square()


DATA = DataSpec((3, 4, 8))
PARTS = {
    "generator": {"two-sizes": TwoSizes},
    "discriminator": {"both-sizes": BothSizes},
    "regularizer": {"likeness": Likeness},
}
PLUGIN = Plugin("extras", "extras", "1", "ok", parts=PARTS)
TREE = {
    "generator": {"name": "two-sizes"},
    "discriminator": {"name": "both-sizes"},
    "loss": {"name": "nonsat"},
    "regularizers": {"likeness": {}, "r1": {"weight": 0}, "r2": {"weight": 0}},
    "training": {"batch": 8, "samples": 4, "tick_images": 16, "device": "cpu", "engine": "eager", "threads": 1}
    | {"precision": "float32", "layout": "contiguous", "ema_images": 20},
}


@pytest.fixture
def registry():
    return Registry([*Registry.installed().plugins, PLUGIN])


def make(registry, *more, data=DATA):
    return build_state(resolve(registry, TREE, *more), registry, data, CPU)


def draw(count=8, seed=3):
    torch.manual_seed(seed)
    return Batch(torch.rand(count, *DATA.shape) * 2 - 1, torch.randn(count, 4))


def descend(state):
    """Let both players move by their gradients."""
    for player in ("generator", "discriminator"):
        parameters = state.trained[player].values()
        setattr(state, f"{player}_optimizer", torch.optim.SGD(parameters, lr=1.0, fused=True))
    return state


def moved(before, after):
    return [old - new for old, new in zip(before.parameters(), after.parameters(), strict=True)]


def test_the_parts_pass_the_checks():
    check_generator(TwoSizes, DATA)
    check_discriminator(BothSizes, DATA)
    check_regularizer(Likeness, DATA, generator=TwoSizes(DATA), discriminator=BothSizes(DATA))


def test_both_players_get_the_gradients_of_an_independent_computation(registry):
    state = descend(make(registry))
    old, batch = copy.deepcopy((state.generator, state.discriminator)), draw()
    generated = generate_for(state, batch)
    step_discriminator(state, [(batch, generated)], 0)

    network, judge = copy.deepcopy(old)
    image, small = (each.detach().requires_grad_() for each in network.outputs(batch.latents))
    of_fake = judge(image, None, small)
    (gradient,) = torch.autograd.grad(of_fake.sum(), small, create_graph=True)
    flipped = batch.real.flip(0)
    penalty = gradient.square().sum() / 8 + judge(flipped, None, avg_pool2d(flipped, 2)).square().mean()
    of_real = judge(batch.real, None, avg_pool2d(batch.real, 2))
    loss = nn.functional.softplus(of_fake).mean() + nn.functional.softplus(-of_real).mean() + penalty
    expected = torch.autograd.grad(loss, list(judge.parameters()))
    for ours, theirs in zip(moved(old[1], state.discriminator), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)

    judge = copy.deepcopy(state.discriminator)
    step_generator(state, [(batch, generated)], 0)
    image, small = network.outputs(batch.latents)
    loss = nn.functional.softplus(-judge(image, None, small)).mean()
    loss = loss + (small - avg_pool2d(image, 2)).square().mean()
    loss = loss + (small.mean() - avg_pool2d(batch.real, 2).mean()).square()
    expected = torch.autograd.grad(loss, list(network.parameters()))
    assert expected[2].abs().sum() > 0  # of the layer that only the small image has
    for ours, theirs in zip(moved(old[0], state.generator), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


class Twice(Augmentation):
    """Adds a number that is drawn for each image."""

    def __init__(self, data):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images)
        return images + torch.rand(len(images), 1, 1, 1)


class Unaugmented(TwoSizes):
    augment_extras = False


@pytest.mark.parametrize("kind", [TwoSizes, Unaugmented])
def test_extra_outputs_are_augmented_apart_from_the_image_or_not_at_all(kind):
    torch.manual_seed(0)
    network, judge, twice = kind(DATA), BothSizes(DATA), Twice(DATA)
    given = []
    judge.forward = lambda images, labels=None, small=None: given.append((images, small)) or images.mean((1, 2, 3))
    batch = draw()
    image, small = network.outputs(batch.latents)
    step = Step(
        network,
        judge,
        images=Pair(batch.real, image),
        latents=batch.latents,
        augment=twice,
        extras=lambda: [small],
    )
    for side, plain, plain_small in (
        ("real", batch.real, avg_pool2d(batch.real, 2)),
        ("fake", image, small),
    ):
        given.clear()
        getattr(step.logits, side)
        ((seen, seen_small),) = given
        added, added_small = (seen - plain)[:, 0, 0, 0], (seen_small - plain_small)[:, 0, 0, 0]
        torch.testing.assert_close(seen, plain + added[:, None, None, None])
        torch.testing.assert_close(seen_small, plain_small + added_small[:, None, None, None])
        assert added.min() > 0
        if kind is Unaugmented:
            assert torch.equal(seen_small, plain_small)
        else:
            assert not torch.allclose(added, added_small)
    assert torch.equal(step.extras[0].real, avg_pool2d(batch.real, 2))  # as it is


class Plain(Discriminator):
    """Takes no extra outputs."""

    def __init__(self, data):
        super().__init__()
        self.layer = nn.Linear(data.shape[0] * data.shape[1] * data.shape[2], 1)

    def forward(self, images, labels=None):
        return self.layer(images.flatten(1)).squeeze(1)


class WithFeatures(FeatureDiscriminator):
    """Reads both sizes in its features."""

    def __init__(self, data):
        super().__init__()
        self.both = BothSizes(data)
        self.last = nn.Linear(1, 1)

    def features(self, images, labels=None, small=None):
        return self.both(images, labels, small)[:, None]

    def head(self, features, labels=None):
        return self.last(features).squeeze(1)


def test_a_discriminator_takes_extra_outputs_in_its_features_or_goes_without():
    torch.manual_seed(0)
    network, batch = TwoSizes(DATA), draw()
    image, small = network.outputs(batch.latents)

    def step(judge):
        return Step(network, judge, images=Pair(batch.real, image), latents=batch.latents, extras=lambda: [small])

    judge = WithFeatures(DATA)
    assert torch.equal(step(judge).logits.fake, judge.head(judge.features(image, None, small)))
    assert torch.equal(step(judge).logits.real, judge(batch.real))
    assert not torch.equal(step(judge).logits.fake, judge(image))
    plain = Plain(DATA)
    assert torch.equal(step(plain).logits.fake, plain(image))


def test_a_generator_without_extra_outputs_is_run_and_judged_as_ever(registry):
    state, batch = make(registry, {"generator": {"name": "mlp"}, "regularizers": {"likeness": {"weight": 0}}}), draw()
    batch = Batch(batch.real, torch.randn(8, state.generator.z_dim))
    generated = generate_for(state, batch)
    assert isinstance(generated, torch.Tensor)
    step = Step(state.generator, state.discriminator, images=Pair(batch.real, generated), latents=batch.latents)
    assert step.extras == []
    assert torch.equal(step.logits.fake, state.discriminator(generated))
    assert torch.equal(step.judge(batch.real), state.discriminator(batch.real))


def test_microbatches_give_what_the_whole_batch_gives(registry):
    whole, split = descend(make(registry)), descend(make(registry))
    torch.manual_seed(1)
    rows = take_step(whole, [draw()], 0)
    again = take_step(split, [draw()], 0, Engine(ExecutionPlan(accumulate=4), CPU))
    for row, other in zip(rows, again, strict=True):
        skipped = [key for key in row if "likeness" in key or key.startswith("gradient")]
        assert {key: row[key].item() for key in row.keys() - skipped} == pytest.approx(
            {key: other[key].item() for key in row.keys() - skipped}, rel=1e-4
        )
    for ours, theirs in zip(whole.discriminator.parameters(), split.discriminator.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("plan", [ExecutionPlan(layout="channels_last"), ExecutionPlan(precision="bfloat16")])
def test_extra_outputs_are_float32_in_every_plan_and_equal_up_to_rounding(registry, plan):
    state, batch, engine = make(registry), draw(), Engine(plan, CPU)
    expected = generate_for(state, batch)
    engine.prepare(state.generator)
    found = generate_for(state, batch, engine)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.03)
    rows = take_step(state, [draw()], 0, engine)
    assert all(value.isfinite() for row in rows for value in row.values())


def test_a_captured_step_is_given_new_batches(registry):
    """Replaying is running once more here; what is checked is that everything lies in the captured tensors."""

    class Again:
        def run(self, work):
            return work(), ""

        def record(self, work):
            return work

    plain, graphed = descend(make(registry)), descend(make(registry))
    stepper = GraphedSteps(EAGER, Again())
    for index in range(4):
        for step, state in ((take_step, plain), (stepper, graphed)):
            seed_everything(0, "step", index)
            state.images = 8 * index
            step(state, [draw(seed=index)], index)
    for ours, theirs in zip(plain.generator.parameters(), graphed.generator.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def train(registry, folder, images, resume=False, stop_after=None):
    data = packed(torch.randint(0, 256, (50, 3, 4, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)))
    config = resolve(registry, TREE, {"training": {"images": images}, "augmentations": {"diffaugment": {}}})
    state = build_state(config, registry, data.spec, CPU)
    record = open_recorder(config, registry, data, folder, state)
    if resume:
        recovery.resume(record, CPU)
    loop.train(state, Batches(data, 0, CPU), record, config, Silent(stop_after), EAGER)


def test_a_run_goes_on_bit_for_bit_and_its_ema_draws_the_image_alone(registry, tmp_path):
    whole, broken = (RunFolder.create(tmp_path, name) for name in ("whole", "broken"))
    train(registry, whole, 48)
    train(registry, broken, 48, stop_after=3)
    train(registry, broken, 48, resume=True)
    assert broken.generator.read_bytes() == whole.generator.read_bytes()
    ours, theirs = (read_tensors(folder.checkpoint_path(48))[0] for folder in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = [json.loads(line) for line in whole.metrics.read_text().splitlines()]
    assert all(row["skipped/generator"] == 0 for row in rows)
    generator, _ = load_generator(whole.generator, registry)
    assert torch.equal(generator.small.weight, theirs["average/small.weight"])
    assert not torch.equal(generator.small.weight, theirs["generator/small.weight"])
    assert ganforge.generate(generator, 2).shape == (2, 3, 4, 8)


def test_an_objective_without_a_discriminator_reads_them_and_generates_once(registry, monkeypatch):
    none = {"name": "none"}
    state = make(registry, {"training": {"d_steps": 0}, "discriminator": none, "loss": none})
    passes, outputs = [], TwoSizes.outputs
    monkeypatch.setattr(TwoSizes, "outputs", lambda *inputs: passes.append(1) or outputs(*inputs))
    before = copy.deepcopy(state.generator)
    (row,) = take_step(state, [draw()], 0)
    assert row["generator/likeness"] > 0
    assert len(passes) == 1
    assert not torch.equal(before.small.weight, state.generator.small.weight)


class Wrong(TwoSizes):
    def extras_of(self, images, labels=None):
        return [images]


class NoList(TwoSizes):
    def outputs(self, z, labels=None):
        return tuple(super().outputs(z, labels))


class Whole(TwoSizes):
    def outputs(self, z, labels=None):
        return [super().outputs(z, labels)[0], torch.zeros(len(z), 1, dtype=torch.int64)]


class Broken(TwoSizes):
    def extras_of(self, images, labels=None):
        raise KeyError("size")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Wrong, r"extra outputs are \[\(8, 3, 2, 4\)\], but extras_of returns \[\(8, 3, 4, 8\)\]"),
        (NoList, r"outputs must return a list, the examples \(8, 3, 4, 8\) first"),
        (Whole, r"extra outputs are \[torch.int64\]"),
        (Broken, "generator 'wrong' of plugin 'wrong' failed: KeyError: 'size'"),
    ],
)
def test_outputs_that_do_not_fit_are_told_before_training(registry, kind, told):
    plugin = Plugin("wrong", "wrong", "1", "ok", parts={"generator": {"wrong": kind}})
    with pytest.raises(PluginError, match=told):
        make(Registry([*registry.plugins, plugin]), {"generator": {"name": "wrong"}})


def test_the_check_tells_an_author_what_does_not_fit():
    with pytest.raises(AssertionError, match=r"extra outputs are .* but extras_of returned"):
        check_generator(Wrong, DATA)


def emulate(accumulate):
    """Return the faults of two steps on emulated CUDA, and why they cannot be captured as a CUDA graph."""
    registry = Registry([*Registry.installed().plugins, PLUGIN])
    config = resolve(registry, TREE, {"augmentations": {"diffaugment": {}}})
    plan = ExecutionPlan(precision="bfloat16", layout="channels_last", accumulate=accumulate)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, DATA, plan)
        with Watch(run.state.networks()) as watch:
            run.take_step(0)
            run.take_step(1)
        return watch.summary().faults, _find_obstacle(run) if accumulate == 1 else ""


@pytest.mark.slow
@pytest.mark.skipif(bool(find_obstacle()), reason=find_obstacle())
@pytest.mark.parametrize("accumulate", [1, 2])
def test_steps_have_no_fault_on_emulated_cuda_and_can_be_captured(accumulate):
    faults, obstacle = run_apart(emulate, accumulate)
    assert not faults
    assert not obstacle
