"""Networks that grow: their schedule, the fade, and runs that are stopped in the middle of it."""

import json
import signal
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import avg_pool2d

import ganforge
from ganforge import DataSpec, Growing, Growth, OptionError
from ganforge.builtin.pggan import PGGANDiscriminator, PGGANGenerator
from ganforge.builtin.stylegan import StyleGANDiscriminator, StyleGANGenerator
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.data.store import PackedData
from ganforge.export.scripting import script
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.testing import check_discriminator, check_generator
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state

CPU = torch.device("cpu")
REGISTRY = Registry.installed()
IMAGES = DataSpec((3, 16, 16))
CLASSES = DataSpec((3, 16, 16), ("cat", "dog"))
STAGES = {"growing": True, "start_resolution": 4, "stage_images": 100, "fade_images": 40}
SMALL = {"width": 4, "max_width": 8}
OPTIONS = {
    PGGANGenerator: SMALL | {"z_dim": 5},
    PGGANDiscriminator: SMALL,
    StyleGANGenerator: SMALL | {"z_dim": 5, "w_dim": 6, "mapping_layers": 2, "mixing": 0.0},
    StyleGANDiscriminator: SMALL,
}
GENERATORS, DISCRIMINATORS = list(OPTIONS)[::2], list(OPTIONS)[1::2]


def make(factory, data=IMAGES, images=0, **options):
    torch.manual_seed(0)
    network = factory(data, **OPTIONS[factory] | STAGES | options)
    network.grow(images)
    return network.eval()


def larger(images, factor=2):
    return images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


# The schedule.


@pytest.mark.parametrize(
    ("images", "resolution", "alpha"),
    [
        (0, 4, 1.0), (99, 4, 1.0), (100, 8, 0.0), (110, 8, 0.25), (139, 8, 39 / 40), (140, 8, 1.0), (239, 8, 1.0),
        (240, 16, 0.0), (260, 16, 0.5), (280, 16, 1.0), (379, 16, 1.0), (380, 16, 1.0), (10**9, 16, 1.0),
    ],
)  # fmt: skip
def test_each_size_is_faded_in_and_held_for_so_many_images(images, resolution, alpha):
    growth = Growth(16, start_resolution=4, stage_images=100, fade_images=40)
    growth.grow(images)
    assert (growth.resolution, growth.alpha) == (resolution, alpha)
    assert growth.phases() == (0, 100, 140, 240, 280)


def test_without_a_fade_sizes_double_at_once_and_from_the_full_size_nothing_grows():
    growth = Growth(32, start_resolution=8, stage_images=10, fade_images=0)
    assert [growth.stage_at(images) for images in (9, 10, 19, 20, 50)] == [
        (8, 1.0), (16, 1.0), (16, 1.0), (32, 1.0), (32, 1.0)]  # fmt: skip
    still = Growth(32, start_resolution=32, stage_images=10, fade_images=10)
    assert {still.stage_at(images) for images in (0, 10, 15, 1000)} == {(32, 1.0)}
    assert still.phases() == (0,)
    assert not still.state_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_resolution": 5}, "start_resolution=5 must be one of 4, 8, 16"),
        ({"start_resolution": 32}, "start_resolution=32 must be one of 4, 8, 16"),
        ({"stage_images": 0}, "stage_images=0 must be at least 1"),
        ({"fade_images": -1}, "fade_images=-1 must be at least 0"),
    ],
)
@pytest.mark.parametrize("kind", ["generator", "discriminator"])
def test_options_out_of_range_are_refused(kind, options, message):
    with pytest.raises(OptionError, match=message):
        REGISTRY.build(kind, "pggan", options, IMAGES)


# The fade.


def raw(generator, images):
    """Output before the tanh, at full size."""
    generator.grow(images)
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        return generator(z).atanh()


@pytest.mark.parametrize("factory", GENERATORS)
@pytest.mark.parametrize(("start", "size"), [(100, 8), (240, 16)])
def test_a_generator_goes_over_from_the_smaller_images_enlarged_to_those_of_the_new_layers(factory, start, size):
    generator = make(factory).double()
    small, at_once, whole = (raw(generator, images) for images in (start - 1, start, start + 40))
    assert torch.equal(at_once, small)
    for images, factor in ((small, 32 // size), (whole, 16 // size)):
        assert torch.equal(images, larger(images[:, :, ::factor, ::factor], factor)), "pixels are those of the stage"
    assert not torch.allclose(whole, small, atol=1e-3)
    for images in (10, 20, 30):
        alpha = images / 40
        assert torch.allclose(raw(generator, start + images), (1 - alpha) * small + alpha * whole, atol=1e-9)


@pytest.mark.parametrize("factory", DISCRIMINATORS)
@pytest.mark.parametrize(("start", "size"), [(100, 8), (240, 16)])
def test_a_discriminator_goes_over_likewise(factory, start, size):
    network = make(factory)
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    coarse = larger(avg_pool2d(images, 32 // size), 32 // size)

    def judge(count, examples=images):
        network.grow(count)
        with torch.no_grad():
            return network(examples)

    small = judge(start - 1)
    assert torch.allclose(judge(start), small, atol=1e-6)
    assert torch.allclose(judge(start - 1, coarse), small, atol=1e-5), "it sees no more than its size"
    whole = judge(start + 40)
    network.grow(start + 39)
    network.growth.alpha = 1 - 1e-6
    with torch.no_grad():
        nearly = network(images)
    assert torch.allclose(nearly, whole, atol=1e-4)
    assert not torch.allclose(whole, small, atol=1e-3)
    # Half way, by hand: what the new block gives, and what the smaller picture gives, in equal parts.
    network.grow(start + 20)
    layers = network.parts
    entrances, blocks = [layers[0], *network.small_pixels], layers[1:]
    level = {16: 0, 8: 1}[size]
    seen = avg_pool2d(images, 16 // size)
    with torch.no_grad():
        x = (blocks[level](entrances[level](seen)) + entrances[level + 1](avg_pool2d(seen, 2))) / 2
        for block in blocks[level + 1 :]:
            x = block(x)
        assert torch.allclose(network.logits(x.flatten(1)), network(images), atol=1e-5)


def test_grown_networks_are_those_that_never_grew():
    for factory in OPTIONS:
        grown, never = make(factory, images=280), make(factory, growing=False)
        weights = grown.state_dict()
        assert set(weights) - set(never.state_dict()) == {"growth.images"} | {
            f"small_pixels.{name}" for name in grown.small_pixels.state_dict()
        }
        never.load_state_dict({name: weights[name] for name in never.state_dict()})
        given = torch.randn(3, 5) if factory in GENERATORS else torch.randn(3, 3, 16, 16)
        assert torch.equal(grown(given), never(given))


def test_at_first_a_generator_is_the_smallest_one_enlarged():
    """At 8 pixels the layers of 4 and 8 have the weights of the smaller network, built for 8 pixels."""
    large = make(PGGANGenerator, images=140)
    small = PGGANGenerator(DataSpec((3, 8, 8)), **OPTIONS[PGGANGenerator] | {"width": 8}, **STAGES).eval()
    small.grow(140)
    weights = large.state_dict()
    names = {name: name for name in small.state_dict()}
    names |= {f"to_pixels.{each}": f"small_pixels.1.{each}" for each in ("weight", "bias")}
    small.load_state_dict({name: weights[source] for name, source in names.items()})
    z = torch.randn(4, 5)
    assert torch.equal(large(z), larger(small(z)))


def test_real_images_are_brought_to_what_the_generator_can_draw():
    generator = make(PGGANGenerator)
    real = torch.rand(2, 3, 16, 16)
    four, eight = (larger(avg_pool2d(real, factor), factor) for factor in (4, 2))
    for images, expected in [(0, four), (100, four), (110, 0.75 * four + 0.25 * eight), (140, eight), (280, real)]:
        generator.grow(images)
        assert torch.allclose(generator.coarsen(real), expected, atol=1e-6), images


def test_a_gradient_by_pixels_of_full_size_is_that_by_the_stages_pixels_over_their_distance():
    """Enlarged four times, two pictures lie four times as far apart, and a slope is a quarter."""
    growth = Growth(16, start_resolution=4, stage_images=100, fade_images=40)
    images, weights = torch.rand(1, 3, 16, 16, requires_grad=True), torch.randn(1, 3, 4, 4)
    (gradient,) = torch.autograd.grad((growth.reduce(images) * weights).sum(), images)
    assert gradient.norm().item() == pytest.approx(weights.norm().item() / 4, rel=1e-5)
    assert growth.enlarge(weights).norm().item() == pytest.approx(weights.norm().item() * 4, rel=1e-5)


@pytest.mark.parametrize(("images", "layers"), [(0, 2), (140, 4), (280, 6)])
def test_styles_are_mixed_among_the_layers_that_are_used(images, layers):
    generator = make(StyleGANGenerator, images=images, mixing=1.0).train()
    seen = []
    for layer in generator.layers:
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    z = torch.randn(200, 5)
    generator(z)
    own = torch.stack([(each == generator.mapping(z)[:, 0]).all(1) for each in seen], 1)
    assert own.shape == (200, layers)
    assert sorted(set(own.sum(1).tolist())) == list(range(1, layers))


# Weights at their stage.


@pytest.mark.parametrize("images", [0, 110, 140, 250, 1000])
@pytest.mark.parametrize("factory", GENERATORS)
def test_weights_come_back_at_their_stage_and_export_at_it(factory, images):
    generator, other = make(factory, images=images), make(factory)
    other.load_state_dict(generator.state_dict())
    stage = (generator.growth.resolution, generator.growth.alpha)
    assert (other.growth.resolution, other.growth.alpha) == stage
    z = torch.randn(7, 5)
    with torch.no_grad():
        assert torch.equal(other(z), generator(z))
        assert torch.allclose(script(other)(z), generator(z), atol=1e-5)


def test_an_exported_file_draws_at_its_stage(tmp_path):
    z, generator = torch.randn(3, 5), make(PGGANGenerator, images=110)
    card = {"generator": {"name": "pggan", "options": {}}, "data": {"shape": [3, 16, 16], "class_names": []}}
    report = TorchScriptExporter().export(generator, card, tmp_path / "generator.pt")
    with torch.no_grad():
        assert torch.allclose(torch.jit.load(report.path)(z), generator(z), atol=1e-5)


@pytest.mark.parametrize("conditioning", ["none", "input"])
@pytest.mark.slow
def test_growing_networks_pass_the_checks(conditioning):
    for factory in GENERATORS:
        check_generator(factory, CLASSES, **OPTIONS[factory], **STAGES, conditioning=conditioning)
    for factory in DISCRIMINATORS:
        for way in ("none", "auxiliary") if conditioning == "none" else ("input", "projection", "joint"):
            check_discriminator(factory, CLASSES, **OPTIONS[factory], **STAGES, conditioning=way)


def test_the_check_finds_a_layer_that_no_phase_uses():
    class Forgetful(PGGANGenerator):
        def __init__(self, data):
            super().__init__(data, **OPTIONS[PGGANGenerator])
            self.unused = torch.nn.Linear(2, 2)

    with pytest.raises(AssertionError, match="parameter unused.weight gets no gradient from forward"):
        check_generator(Forgetful, IMAGES)


def test_the_check_finds_a_stage_that_is_not_saved():
    class Unsaved(PGGANGenerator):
        def __init__(self, data):
            super().__init__(data, **OPTIONS[PGGANGenerator])
            self.growth.images = self.growth.images.clone()
            self.growth._non_persistent_buffers_set.add("images")

    with pytest.raises(AssertionError, match="a copy with the same state_dict gives a different result"):
        check_generator(Unsaved, IMAGES)


# Runs.


class Stopping:
    """A watcher that sends a signal after a number of steps."""

    def __init__(self, stop_after=None):
        self.steps, self.stop_after = 0, stop_after

    def step(self, images, seconds):
        self.steps += 1
        if self.steps == self.stop_after:
            signal.raise_signal(signal.SIGINT)

    def tick(self, row):
        pass

    def note(self, text):
        pass


def settings_of(name, **stages):
    chosen = STAGES | {"stage_images": 20, "fade_images": 20} | stages
    both = [f"{player}.{key}={value}" for player in ("generator", "discriminator") for key, value in chosen.items()]
    factories = dict(zip(("pggan", "stylegan"), zip(GENERATORS, DISCRIMINATORS, strict=True), strict=True))[name]
    for player, factory in zip(("generator", "discriminator"), factories, strict=True):
        both += [f"{player}.{key}={value}" for key, value in OPTIONS[factory].items()]
    return [*both, "training.batch=5", "training.tick_images=20", "training.samples=4"]


def configured(name, settings=(), regularizers=()):
    layers = load_layers(None, None, regularizers, [*settings_of(name), *settings])
    return resolve(REGISTRY, {"recipe": name}, *layers)


def train(data, folder, config, resume=False, stop_after=None):
    state = build_state(config, REGISTRY, data.spec, CPU)
    record = open_recorder(config, REGISTRY, data, folder, state)
    if resume:
        recovery.resume(record, CPU)
    outcome = loop.train(state, Batches(data, 0, CPU), record, config, Stopping(stop_after), EAGER)
    return outcome, state


@pytest.fixture
def images():
    torch.manual_seed(7)
    return PackedData("test", torch.randint(0, 256, (50, 3, 16, 16), dtype=torch.uint8), None, (), "abc")


@pytest.mark.parametrize(
    ("name", "stop_after", "height"), [("pggan", 6, 16), ("pggan", 15, 12), ("stylegan", 15, 16), ("stylegan", 6, 12)]
)
def test_a_run_stopped_in_a_fade_ends_with_the_bytes_of_an_unbroken_one(name, stop_after, height, images, tmp_path):
    images = replace(images, examples=images.examples[:, :, :height])
    config = configured(name, ["training.images=100"], ["historical-averaging", "r1:every=2"])
    before = images.examples.clone()
    whole, broken = (RunFolder.create(tmp_path, each) for each in ("whole", "broken"))
    _, state = train(images, whole, config)
    outcome, stopped = train(images, broken, config, stop_after=stop_after)
    assert outcome.stopped == signal.SIGINT
    assert 0 < stopped.generator.growth.alpha < 1
    middle = ganforge.load(broken.path)
    stages = [(each.growth.resolution, each.growth.alpha) for each in (middle, stopped.generator, stopped.ema)]
    assert stages == [stages[0]] * 3
    assert torch.equal(ganforge.generate(middle, 3), ganforge.generate(stopped.ema, 3))
    outcome, _ = train(images, broken, config, resume=True)
    assert (outcome.stopped, outcome.images) == (None, 100)
    assert broken.generator.read_bytes() == whole.generator.read_bytes()
    ours, theirs = (read_tensors(each.checkpoint_path(100))[0] for each in (broken, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert state.generator.growth.resolution == 16
    assert torch.equal(images.examples, before)


def test_a_run_grows_and_each_layer_learns_from_its_stage_on(images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    config = configured("pggan", ["training.images=20"])
    _, state = train(images, folder, config)
    assert state.generator.growth.resolution == 4
    first = {key for key, value in state.tensors().items() if key.startswith("generator_optimizer/")}
    assert {key.split("/")[1].rsplit(".", 1)[0] for key in first} == {"dense", "blocks.0.2", "small_pixels.0"}
    config = configured("pggan", ["training.images=100"])
    _, state = train(images, folder, config, resume=True)
    steps = {
        key.split("/")[1]: int(value)
        for key, value in state.tensors().items()
        if key.startswith("generator_optimizer/") and key.endswith("weight/step")
    }
    assert steps["dense.weight"] == 20
    assert (steps["blocks.1.0.weight"], steps["blocks.2.0.weight"]) == (16, 8)
    # The last to pixels of a stage rest once the next one is faded in.
    assert [steps[f"small_pixels.{level}.weight"] for level in (0, 1)] == [8, 12]
    sizes = []
    for row in (json.loads(line) for line in folder.metrics.read_text().splitlines()):
        assert all(value == value for value in row.values())
        sizes.append(row["images"])
    assert sizes == list(range(20, 101, 20))
    generator, card = load_generator(folder.generator)
    assert isinstance(generator, Growing)
    assert card["generator"]["options"]["stage_images"] == 20
    assert ganforge.generate(generator, 2).shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["discriminator.stage_images=30"],
            "generator after 20, 40, 60, 80 images; discriminator after 30, 50",
        ),
        (["discriminator.start_resolution=8"], "discriminator after 20, 40 images"),
        (["generator.growing=false"], "generator never; discriminator after 20"),
        (["discriminator.growing=false"], "80 images; discriminator never"),
    ],
)
def test_players_that_grow_apart_are_refused_before_the_run_starts(settings, message):
    with pytest.raises(OptionError, match=message):
        build_state(configured("pggan", settings), REGISTRY, IMAGES, CPU)


def test_a_growing_generator_is_refused_for_a_discriminator_that_cannot_grow():
    layers = load_layers(None, None, [], ["discriminator.name=dcgan", "discriminator.width=4"])
    config = resolve(REGISTRY, {"generator": {"name": "pggan"}, "training": {"batch": 4}}, *layers)
    with pytest.raises(OptionError, match="generator and discriminator grow differently") as caught:
        build_state(config, REGISTRY, IMAGES, CPU)
    assert "stage_images" in caught.value.hint


def test_the_recipe_is_that_of_the_paper():
    config = resolve(REGISTRY, {"recipe": "pggan"})
    assert config.loss.name == "wasserstein"
    assert {each.name: each.weight.at(0) for each in config.regularizers} == {"gp": 10.0, "drift": 0.001}
    assert (config.training.batch, config.training.d_steps) == (16, 1)
