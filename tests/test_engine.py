"""Steps come out the same however they are computed, and a plan is chosen by what was measured."""

import copy
import itertools
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganforge import Discriminator, Regularizer
from ganforge.config.schema import TrainingConfig, resolve
from ganforge.contract.errors import OptionError
from ganforge.core.seeding import seed_everything
from ganforge.data.store import PackedData
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry
from ganforge.training.execution import autotune
from ganforge.training.execution.cuda_graphs import MOST_GRAPHS, GraphedSteps
from ganforge.training.execution.engine import EAGER, Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step

CPU = torch.device("cpu")


SECONDS = autotune.SECONDS


@pytest.fixture(autouse=True, scope="module")
def measuring():
    """Measure plans for as long as a user's runs do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autotune, "SECONDS", SECONDS)
        yield


@pytest.fixture(scope="module")
def registry():
    return Registry(load_plugins())


@pytest.fixture(scope="module")
def images():
    source = torch.Generator().manual_seed(0)
    examples = torch.randint(0, 256, (64, 3, 16, 16), dtype=torch.uint8, generator=source)
    return PackedData("noise", examples, torch.arange(64) % 4, tuple("abcd"), "0" * 64)


SMALL = {"generator": {"width": "8", "max_width": "32"}, "discriminator": {"width": "8", "max_width": "32"}}
RECIPES = {
    "dcgan": {"recipe": "dcgan", **SMALL},
    "cdcgan": {"recipe": "cdcgan", **SMALL},
    "acgan": {"recipe": "acgan", **SMALL},
    "stylegan": {"recipe": "stylegan", **SMALL},
    "stylegan2": {"recipe": "stylegan2", **SMALL},
    "wgan-gp": {"recipe": "wgan-gp", **SMALL},
    "projection": {"recipe": "projection", **SMALL},
}


def build(registry, data, tree):
    config = resolve(registry, {**tree, "training": {"batch": 8, **tree.get("training", {})}})
    return config, build_state(config, registry, data.spec, CPU)


def run(config, state, data, engine, steps=3, stepper=None, start=0):
    """Take steps as the loop does; the rows of all."""
    for network in state.networks():
        engine.prepare(network)
    batches, rows = Batches(data, 0, CPU), []
    for index in range(start, start + steps):
        seed_everything(0, "step", index)
        state.apply_schedules(config.optimizer)
        shown = [
            read_batch(state, batches, engine, state.images + 8 * number, 8)
            for number in range(config.training.d_steps)
        ]
        step = stepper or (lambda state, shown, index: take_step(state, shown, index, engine))
        rows.append([{name: value.item() for name, value in row.items()} for row in step(state, shown, index)])
    return rows


def distance(network, other, start):
    """Distance between the weights of two networks, relative to the distance of the first from the start."""
    weights, others, before = (
        torch.cat([each.flatten() for each in one.parameters()]) for one in (network, other, start)
    )
    return ((weights - others).norm() / (weights - before).norm()).item()


@pytest.mark.parametrize("recipe", RECIPES)
def test_layout_changes_nothing_beyond_rounding(registry, images, recipe):
    config, plain = build(registry, images, RECIPES[recipe])
    # Adam would move a weight whose gradient is nothing but rounding as far as any other.
    plain.generator_optimizer = torch.optim.SGD(plain.generator.parameters(), fused=True)
    plain.discriminator_optimizer = torch.optim.SGD(plain.discriminator.parameters(), fused=True)
    other = copy.deepcopy(plain)
    before = copy.deepcopy(plain.generator)
    rows = run(config, plain, images, EAGER)
    others = run(config, other, images, Engine(ExecutionPlan(layout="channels_last"), CPU))
    for ours, theirs in zip(rows, others, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=2e-3, abs=1e-4)
    # Second derivatives jump where a leaky ReLU bends.
    assert distance(plain.generator, other.generator, before) < 0.02
    assert any(
        each.is_contiguous(memory_format=torch.channels_last) and each.shape[1] > 1
        for each in other.generator.parameters()
        if each.dim() == 4
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_bfloat16_follows_float32(registry, images, recipe):
    config, plain = build(registry, images, RECIPES[recipe])
    other = copy.deepcopy(plain)
    rows = run(config, plain, images, EAGER)
    others = run(config, other, images, Engine(ExecutionPlan(precision="bfloat16", layout="channels_last"), CPU))
    first, second = rows[0], others[0]
    for one, two in zip(first, second, strict=True):
        assert one.keys() == two.keys()
        assert one == pytest.approx(two, rel=0.1, abs=0.05)  # 8 bits of mantissa, many layers
    assert first != second
    assert all(each.dtype == torch.float32 for network in other.networks() for each in network.parameters())
    assert all(torch.isfinite(each).all() for network in other.networks() for each in network.parameters())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_resumes_bit_for_bit_in_another_layout(registry, images, precision):
    config, whole = build(registry, images, RECIPES["stylegan"])
    _, resumed = build(registry, images, RECIPES["stylegan"])
    engine = Engine(ExecutionPlan(layout="channels_last", precision=precision), CPU)
    rows = run(config, whole, images, engine, 5)
    _, broken = build(registry, images, RECIPES["stylegan"])
    run(config, broken, images, engine, 3)
    resumed.load({name: tensor.contiguous() for name, tensor in broken.tensors().items()})
    resumed.images = broken.images
    for network in resumed.networks():
        engine.prepare(network)
    resumed.match_memory_format()
    assert run(config, resumed, images, engine, 2, start=3) == rows[3:]
    theirs = whole.tensors()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in resumed.tensors().items())


class Looking(Regularizer):
    """Notes which kinds of numbers a penalty is given."""

    def __init__(self):
        super().__init__()
        self.kinds = set()

    def discriminator(self, step):
        for pair in (step.logits, step.images, *([step.features] if hasattr(step.discriminator, "features") else [])):
            self.kinds |= {pair.real.dtype, pair.fake.dtype}
        self.kinds.add(step.judge(step.images.real).dtype)
        (gradient,) = torch.autograd.grad(step.logits.real.sum(), step.images.real, create_graph=True)
        self.kinds.add(gradient.dtype)
        return gradient.square().sum()


def test_losses_and_penalties_are_given_float32(registry, images):
    config, state = build(registry, images, {**RECIPES["dcgan"], "regularizers": {"r1": {"weight": 1}}})
    state.penalties[0].regularizer = looking = Looking()
    run(config, state, images, Engine(ExecutionPlan(precision="bfloat16"), CPU), steps=1)
    assert looking.kinds == {torch.float32}


def test_float64_stays_float64():
    engine = Engine(ExecutionPlan(precision="bfloat16"), CPU)
    assert engine.compute(lambda x: x * 2, torch.ones(2, dtype=torch.float64)).dtype == torch.float64
    assert engine.compute(nn.Linear(2, 2), torch.ones(1, 2)).dtype == torch.float32


class HealthMonitor(TorchDispatchMode):
    """Notes what would wait for a device: numbers read into Python, and shapes that depend on them."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "item")

    def __init__(self):
        super().__init__()
        self.waits, self.seen = [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen += 1
        name = function.name().removeprefix("aten::").split(".")[0]
        indices = args[1] if name.startswith("index") and isinstance(args[1], list) else []
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name.startswith(self.WAITS) or by_mask:
            self.waits.append(name)
        return function(*args, **(kwargs or {}))


def test_the_watch_notices_what_waits():
    x = torch.arange(4.0)
    for wait in (lambda: x.sum().item(), lambda: x[x > 1], lambda: x.nonzero(), lambda: bool(x[0] > 0)):
        with HealthMonitor() as health:
            wait()
        assert health.waits


# Where labels are made one-hot, their range is checked on a CPU, though not on CUDA.
@pytest.mark.parametrize("recipe", sorted(RECIPES.keys() - {"cdcgan", "acgan"}))
@pytest.mark.parametrize("augmentation", ["", "ada", "diffaugment"])
def test_steps_do_not_wait_for_the_device(registry, images, recipe, augmentation):
    tree = {**RECIPES[recipe], **({"augmentations": {augmentation: {}}} if augmentation else {})}
    _, state = build(registry, images, tree)
    batches = Batches(images, 0, CPU)
    take_step(state, [read_batch(state, batches, EAGER, 0, 8)], 0)  # Adam makes its state
    for index in (1, 16):
        shown = [read_batch(state, batches, EAGER, 8, 8)]
        with HealthMonitor() as health:
            take_step(state, shown, index)
        assert health.waits == []
        assert health.seen > 100


class Replaying:
    """Replacement of CUDA graphs: a replay runs the recorded function on its recorded tensors."""

    def __init__(self):
        self.recorded = 0
        self.ran = 0

    def run(self, work):
        self.ran += 1
        return work(), ""

    def record(self, work):
        self.recorded += 1

        def replay():
            return work()

        return replay


def graphed(config, state, data, steps, recorder=None):
    said = []
    engine = Engine(ExecutionPlan(), CPU, said.append)
    recorder = recorder or Replaying()
    stepper = GraphedSteps(engine, recorder)

    def step(state, shown, index):
        images = state.images
        rows = stepper(state, shown, index)
        state.images = images + sum(len(batch.real) for batch in shown)  # a replayed graph runs no Python
        return rows

    return run(config, state, data, engine, steps, step), recorder, said


@pytest.mark.parametrize("recipe", ["stylegan2", "cdcgan", "wgan-gp"])
def test_recorded_steps_are_the_steps(registry, images, recipe):
    tree = {**RECIPES[recipe], "training": {"d_steps": 2}}
    config, plain = build(registry, images, tree)
    other = copy.deepcopy(plain)
    rows = run(config, plain, images, EAGER, 12)
    others, recorder, said = graphed(config, other, images, 12)
    assert others == rows
    assert plain.images == other.images
    assert not said
    assert recorder.recorded >= 1
    assert all(torch.equal(a, b) for a, b in zip(plain.ema.parameters(), other.ema.parameters(), strict=True))


def test_a_step_is_recorded_once_for_each_set_of_penalties(registry, images):
    tree = {**RECIPES["stylegan"], "regularizers": {"r1": {"weight": 1, "every": 4}}}
    config, state = build(registry, images, tree)
    _, recorder, _ = graphed(config, state, images, 16)
    assert (recorder.ran, recorder.recorded) == (2, 2)


def test_no_more_graphs_than_there_is_room_for(registry, images):
    tree = {**RECIPES["dcgan"], "regularizers": {"r1": {"weight": "linear:1:0:8000"}}}
    config, state = build(registry, images, tree)
    plain = copy.deepcopy(state)
    rows, recorder, said = graphed(config, state, images, MOST_GRAPHS + 3)
    assert (recorder.ran, recorder.recorded) == (MOST_GRAPHS, 0)
    assert [line.partition(":")[0] for line in said] == [f"more than {MOST_GRAPHS} kinds of steps"]
    assert rows == run(config, plain, images, EAGER, MOST_GRAPHS + 3)


class Counting(Regularizer):
    """Keeps a plain number."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def discriminator(self, step):
        self.steps += 1
        return step.logits.real.square().mean() * self.steps


class Relaxing(Regularizer):
    """Depends on how far the run is."""

    def discriminator(self, step):
        return step.logits.real.square().mean() / (1 + step.images_seen)


class Rebinding(Regularizer):
    """Replaces a tensor instead of changing it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def discriminator(self, step):
        self.mean = self.mean * 0.9 + step.logits.real.mean().detach() * 0.1
        return (step.logits.real - self.mean).square().mean()


@pytest.mark.parametrize(
    ("penalty", "reason"), [(Counting, "steps changes"), (Relaxing, "images_seen"), (Rebinding, "mean changes")]
)
def test_what_a_graph_would_freeze_is_not_recorded(registry, images, penalty, reason):
    config, state = build(registry, images, {**RECIPES["dcgan"], "regularizers": {"r1": {"weight": 1}}})
    state.penalties[0].regularizer = penalty()
    plain = copy.deepcopy(state)
    rows, recorder, said = graphed(config, state, images, 5)
    assert recorder.recorded == 0
    assert [reason in line for line in said] == [True]
    assert rows == run(config, plain, images, EAGER, 5)


class Failing(Replaying):
    """Refuses to record, as CUDA does where a step waits for the device."""

    def record(self, work):
        work()
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def test_a_failed_recording_is_told_and_training_goes_on(registry, images):
    config, state = build(registry, images, RECIPES["dcgan"])
    rows, _, said = graphed(config, state, images, 5, Failing())
    assert said == ["CUDA graphs disabled, steps run eagerly: operation not permitted when stream is capturing"]
    assert (len(rows), state.images) == (5, 40)


PLANS = [
    ExecutionPlan(threads=2),
    ExecutionPlan(layout="channels_last", threads=2),
    ExecutionPlan(precision="bfloat16", threads=2),
]


def measured(times, batch=64, alone=9.0):
    """Chosen plan for a step time per example; tried plans; messages."""
    tried, said = [], []

    def trial(plan, size):
        tried.append((plan, size))
        seconds = alone if plan.threads == 1 else times[PLANS.index(plan)]
        if isinstance(seconds, Exception):
            raise seconds
        return seconds * size

    return autotune.measure(PLANS, trial, batch, said.append, fewer_threads=True), tried, said


def test_the_quickest_plan_is_chosen_if_it_is_worth_it():
    assert measured([1.0, 0.8, 0.4])[0] == PLANS[2]
    assert measured([1.0, 0.8, 0.79])[0] == PLANS[1]
    assert measured([1.0, 0.95, 0.95])[0] == PLANS[0]


def test_long_steps_are_measured_on_few_examples_and_never_on_one_thread():
    _, tried, _ = measured([0.06, 0.06, 0.06], batch=48, alone=0.001)
    assert {size for _, size in tried} == {3}
    assert [plan for plan, _ in tried] == [PLANS[0], PLANS[2], PLANS[1]]


@pytest.mark.parametrize(
    ("given", "device", "busy", "threads"),
    [(None, "cpu", True, 1), (None, "cpu", False, 2), (2, "cpu", True, 2), (None, "mps", True, 2)],
)
def test_plans_of_a_busy_machine_have_one_thread_and_are_cached_apart(monkeypatch, given, device, busy, threads):
    monkeypatch.setattr(autotune, "THREADS", 2)
    monkeypatch.setattr(autotune, "is_busy", lambda threads: busy)
    found = autotune.count_threads(TrainingConfig(threads=given), torch.device(device))
    assert found == threads
    config = resolve(Registry.installed(), {"recipe": "dcgan"})
    assert autotune._cache_key(config, CPU, 1, 1) != autotune._cache_key(config, CPU, 1, 2)
    assert {plan.threads for plan in autotune.candidates(TrainingConfig(), CPU, found)} == {found}


def test_a_machine_with_one_thread_is_not_asked(monkeypatch):
    monkeypatch.setattr(autotune, "THREADS", 1)
    monkeypatch.setattr(autotune, "is_busy", None)
    assert autotune.count_threads(TrainingConfig(), CPU) == 1


@pytest.mark.parametrize(("alone", "together", "busy"), [(4, 8, False), (8, 8, True), (8, 2, True)])
def test_a_machine_is_busy_if_threads_do_not_help(monkeypatch, alone, together, busy):
    clock, threads = itertools.count(), torch.get_num_threads()
    speed = {1: alone, 2: together}  # products in the time of one side of the check
    ticks = lambda: next(clock) * autotune.BUSY_SECONDS / speed[torch.get_num_threads()]  # noqa: E731
    monkeypatch.setattr(autotune.time, "perf_counter", ticks)
    assert autotune.is_busy(2) == busy
    assert torch.get_num_threads() == threads


def test_short_steps_are_tried_on_one_thread_and_the_rest_follows():
    plan, tried, _ = measured([1e-5, 1.0, 1.0], batch=64, alone=5e-6)
    assert plan == ExecutionPlan(threads=1)
    assert (PLANS[0], 64) in tried
    assert [each.threads for each, _ in tried[-3:]] == [1, 1, 1]


def test_a_plan_by_which_a_network_cannot_run_is_passed_over_and_told():
    plan, _, said = measured([1.0, RuntimeError("view size is not compatible\nmore"), 0.5])
    assert plan == PLANS[2]
    assert said == ["skipped plan eager, float32, channels_last, 2 threads: view size is not compatible"]


def test_what_the_simplest_plan_cannot_run_is_an_error():
    with pytest.raises(RuntimeError, match="broken"):
        measured([RuntimeError("broken"), 1.0, 1.0])


@pytest.mark.parametrize(("first", "per_size"), [(0.0, 0.0), (0.5, 0.2), (2.0, 0.5), (9.0, 0.3)])
def test_an_accelerator_that_starts_slowly_still_gets_the_fastest_plan(first, per_size, monkeypatch):
    """The first call of a device takes seconds, and so does each new shape, while cuDNN tries its algorithms."""
    plans = [
        ExecutionPlan(),
        ExecutionPlan("graph", layout="channels_last"),
        ExecutionPlan("graph", "bfloat16", "channels_last"),
    ]
    real, clock, seen = dict(zip(plans, (0.008, 0.003, 0.0015), strict=True)), [0.0], set()

    def trial(plan, size):
        shapes = plan.precision, plan.layout, size
        clock[0] += (0 if seen else first) + (0 if shapes in seen else per_size) + 10 * real[plan]
        seen.add(shapes)
        return real[plan]

    monkeypatch.setattr(autotune.time, "perf_counter", lambda: clock[0])
    assert autotune.measure(plans, trial, 128, print, whole_batch=True) == plans[2]
    assert {size for *_, size in seen} == {128}


def test_only_what_is_left_open_is_measured():
    said = TrainingConfig(engine="eager", precision="float32", layout="contiguous", threads=3)
    assert autotune.candidates(said, CPU) == [ExecutionPlan(threads=3)]
    some = autotune.candidates(TrainingConfig(precision="float32", threads=1), CPU)
    assert some == [ExecutionPlan(threads=1), ExecutionPlan(layout="channels_last", threads=1)]
    everything = autotune.candidates(TrainingConfig(), torch.device("cuda"))
    assert everything[0] == ExecutionPlan()
    assert {plan.engine for plan in everything} == {"eager", "graph"}


def test_a_settled_plan_is_remembered_and_said(registry, images, cache, monkeypatch):
    config, state = build(registry, images, RECIPES["dcgan"])
    chosen = ExecutionPlan(precision="bfloat16", layout="channels_last", threads=1)
    monkeypatch.setattr(autotune, "measure", lambda *_, **__: chosen)
    settled = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)
    monkeypatch.setattr(autotune, "measure", None)  # not asked again
    again = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)
    assert settled == again
    assert settled.tree()["training"]["precision"] == "bfloat16"
    assert resolve(registry, json.loads(json.dumps(settled.tree()))) == settled


def test_a_cache_that_cannot_be_written_holds_up_no_run(registry, images, cache, monkeypatch):
    config, state = build(registry, images, RECIPES["dcgan"])
    monkeypatch.setattr(autotune, "measure", lambda *_, **__: ExecutionPlan(threads=1))
    monkeypatch.setattr(autotune, "cache_folder", lambda: Path("/proc/nowhere"))
    said = []
    settled = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, said.append)
    assert settled.training.threads == 1
    assert len(said) == 1
    assert said[0].startswith("the execution plan is not cached: cannot write /proc/nowhere")


def test_measuring_leaves_the_players_as_they_are(registry, images, cache):
    config, state = build(registry, images, RECIPES["stylegan"])
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    threads = torch.get_num_threads()
    settled = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)
    assert settled.training.precision in ("float32", "bfloat16")
    assert (state.images, torch.get_num_threads()) == (0, threads)
    after = state.tensors()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_steps_of_a_slow_machine_are_measured_once(registry, images, cache, monkeypatch):
    config, state = build(registry, images, {**RECIPES["dcgan"], "training": {"threads": 1, "precision": "float32"}})
    clock, sizes = [0.0], []

    def step(players, shown, index):
        clock[0] += 3.0
        sizes.append(len(shown[0].real))

    monkeypatch.setattr(autotune.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(autotune, "make_stepper", lambda _: step)
    autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)
    assert sizes == [autotune.SMALL_BATCH] * 2  # one for each layout


def test_packs_are_measured_whole(registry, images, cache):
    config, state = build(
        registry, images, {**RECIPES["dcgan"], "discriminator": {"name": "dcgan-packed", "pack": "8", "width": "8"}}
    )
    settled = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)
    assert settled.training.engine == "eager"


def test_graphs_need_cuda(registry, images):
    config, state = build(registry, images, {**RECIPES["dcgan"], "training": {"engine": "graph"}})
    with pytest.raises(OptionError, match="--engine graph: requires a CUDA device"):
        autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)


def test_compiling_needs_a_compiler(registry, images, cache, monkeypatch):
    config, state = build(registry, images, {**RECIPES["dcgan"], "training": {"engine": "compile"}})

    def broken(_):
        raise RuntimeError("InvalidCxxCompiler: none found\nand a hundred lines more")

    monkeypatch.setattr(torch, "compile", lambda _: broken)
    with pytest.raises(OptionError, match=r"--engine compile: .*: InvalidCxxCompiler: none found(?!\n)"):
        autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, print)


class Viewing(Discriminator):
    """A plugin's discriminator that relies on maps lying in memory channel by channel."""

    def __init__(self, data):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.judge = nn.Linear(8 * 16 * 16, 1)

    def forward(self, images, labels=None):
        return self.judge(self.layers(images).view(len(images), -1)).squeeze(1)


def test_a_network_that_views_its_maps_still_trains(registry, images, cache):
    config, state = build(registry, images, RECIPES["dcgan"])
    state.discriminator = Viewing(images.spec)
    state.discriminator_optimizer = torch.optim.Adam(state.discriminator.parameters(), fused=True)
    said = []
    settled = autotune.choose_plan(config, state, Batches(images, 0, CPU), CPU, said.append)
    assert settled.training.layout == "contiguous"
    assert any("channels_last" in line and "view size" in line for line in said)


@pytest.mark.parametrize("recipe", ["stylegan", "wgan-gp"])
def test_a_batch_in_parts_gives_the_gradients_of_the_whole(registry, images, recipe):
    # Without what depends on the whole batch or is drawn anew for each part.
    tree = {**RECIPES[recipe], "training": {"d_steps": 2}}
    if recipe == "stylegan":
        tree["discriminator"] = {**SMALL["discriminator"], "minibatch": "none"}
        tree["generator"] = {**SMALL["generator"], "mixing": "0"}
    config, plain = build(registry, images, tree)
    for module in plain.generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    plain.generator_optimizer = torch.optim.SGD(plain.generator.parameters(), fused=True)
    plain.discriminator_optimizer = torch.optim.SGD(plain.discriminator.parameters(), fused=True)
    if recipe == "wgan-gp":
        plain.penalties[0].regularizer = Squares()
    other, before = copy.deepcopy(plain), copy.deepcopy(plain)
    rows = run(config, plain, images, EAGER)
    others = run(config, other, images, Engine(ExecutionPlan(accumulate=4), CPU))
    for ours, theirs in zip(rows, others, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=1e-3, abs=1e-5)
    assert distance(plain.generator, other.generator, before.generator) < 5e-3
    assert distance(plain.discriminator, other.discriminator, before.discriminator) < 5e-3


class Squares(Regularizer):
    """A penalty that is a mean over single examples."""

    def discriminator(self, step):
        (gradient,) = torch.autograd.grad(step.logits.real.sum(), step.images.real, create_graph=True)
        return gradient.square().sum((1, 2, 3)).mean()


def test_a_batch_must_fall_into_whole_parts(registry, images):
    with pytest.raises(OptionError, match=r"training.accumulate=3 does not divide training.batch=8"):
        build(registry, images, {**RECIPES["dcgan"], "training": {"accumulate": 3}})


@pytest.mark.parametrize("recipe", ["stylegan", "stylegan2", "pggan"])
def test_recomputing_changes_nothing_and_keeps_less(registry, images, recipe):
    config, plain = build(registry, images, {"recipe": recipe, **SMALL})
    start, other = copy.deepcopy(plain.generator), copy.deepcopy(plain)
    kept = []
    for state, plan in ((plain, ExecutionPlan()), (other, ExecutionPlan(recompute=True))):
        sizes = []

        def pack(tensor, sizes=sizes):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            rows = run(config, state, images, Engine(plan, CPU), 2)
        kept.append((sum(sizes), rows))
    assert kept[1][0] < 0.92 * kept[0][0]
    if recipe == "stylegan2":  # uses a weight twice: gradients are summed before they are scaled, or after it
        for (of_plain, _), (of_other, _) in zip(kept[0][1], kept[1][1], strict=True):
            assert of_other == pytest.approx(of_plain, rel=1e-4)
        assert distance(plain.generator, other.generator, start) < 1e-4
    else:
        assert kept[0][1] == kept[1][1]
        assert distance(plain.generator, other.generator, start) == 0


class Undecided(Regularizer):
    """A penalty whose Python looks at numbers, and is another on each side of a threshold."""

    def discriminator(self, step):
        mean = step.logits.real.mean()
        return mean.square() if mean.item() > 0 else step.logits.fake.square().mean()


class Branching(Discriminator):
    """A network whose Python looks at numbers."""

    def __init__(self, data):
        super().__init__()
        self.judge = nn.Linear(3 * 16 * 16, 1)

    def forward(self, images, labels=None):
        logits = self.judge(images.flatten(1)).squeeze(1)
        return logits.tanh() if logits.abs().max().item() > 0.5 else logits


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("odd", [pytest.param(False, marks=pytest.mark.exhaustive), True])
@pytest.mark.slow
def test_compiled_networks_train_as_they_are(registry, images, odd):
    config, plain = build(registry, images, {**RECIPES["dcgan"], "regularizers": {"r1": {"weight": 1, "every": 2}}})
    if odd:
        plain.discriminator = Branching(images.spec)
        plain.penalties[0].regularizer = Undecided()
    plain.generator_optimizer = torch.optim.SGD(plain.generator.parameters(), fused=True)
    plain.discriminator_optimizer = torch.optim.SGD(plain.discriminator.parameters(), fused=True)
    other = copy.deepcopy(plain)
    rows = run(config, plain, images, EAGER, 4)
    others = run(config, other, images, Engine(ExecutionPlan(engine="compile"), CPU), 4)
    for ours, theirs in zip(rows, others, strict=True):
        for one, two in zip(ours, theirs, strict=True):
            assert one == pytest.approx(two, rel=1e-3, abs=1e-4)
