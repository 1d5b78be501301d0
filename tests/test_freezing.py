"""The first layers of a network can be frozen: they never change, and the rest is trained."""

import functools
import re

import pytest
import torch

from ganforge import DataSpec, OptionError
from ganforge.config.schema import resolve
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER, Engine, ExecutionPlan
from ganforge.training.freezing import find_layers
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state
from ganforge.training.transfer import init_from

CPU = torch.device("cpu")

SMALL = {"width": 4, "max_width": 8}

FIRST = {
    "rpgan": ["layers.0", "layers.2"],
    "dcgan": ["layers.0", "layers.2", "layers.3"],
    "projection": ["layers.0", "layers.2"],
    "stylegan2": ["layers.0", "layers.2"],
    "pggan": ["layers.0", "layers.2"],
}
"""Two layers nearest to the image, by recipe; the weight of a normalization belongs to the layer before."""


@pytest.fixture(scope="module")
def registry():
    return Registry.installed()


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (16, 3, 16, 16), dtype=torch.uint8)
    return PackedData("test", images, torch.arange(16) % 2, ("a", "b"), "abc")


def build(registry, data, freeze, recipe="rpgan", images=16, **sections):
    training = {"batch": 4, "images": images, "tick_images": 4, "ema_images": 8, "samples": 4, "freeze": freeze}
    tree = {"recipe": recipe, "generator": SMALL, "discriminator": SMALL, **sections, "training": training}
    config = resolve(registry, tree)
    return config, build_state(config, registry, data.spec, CPU)


class Silent:
    def step(self, *_):
        pass

    tick = note = score = step


def train(registry, data, folder, freeze, engine=EAGER, resume=False, **settings):
    config, state = build(registry, data, freeze, **settings)
    record = open_recorder(config, registry, data, folder, state)
    if resume:
        recovery.resume(record, CPU)
    loop.train(state, Batches(data, config.training.seed, CPU), record, config, Silent(), engine)
    return state


def is_below(name, layers):
    return any(name.split("/")[1].startswith(f"{each}.") for each in layers)


@pytest.mark.parametrize("recipe", FIRST)
def test_the_layers_nearest_to_the_image_never_change_and_all_others_do(registry, data, tmp_path, recipe):
    more = {} if recipe == "pggan" else {"regularizers": {"clip": {"bound": 0.5}, "r1": {"every": 1}}}
    _, fresh = build(registry, data, "discriminator:2", recipe, **more)
    (line,) = fresh.notes
    assert line.startswith(f"frozen: discriminator {', '.join(FIRST[recipe])}; ")
    state = train(registry, data, RunFolder.create(tmp_path, "x"), "discriminator:2", recipe=recipe, **more)
    before, after = fresh.tensors(), state.tensors()
    names = [each for each in after if each.startswith("discriminator/")]
    assert sum(is_below(each, FIRST[recipe]) for each in names) >= 3
    still = {each for each in names if torch.equal(before[each], after[each])}
    frozen = {each for each in names if is_below(each, FIRST[recipe])}
    # A relativistic loss does not depend on the last bias, and one logit has one singular vector. Most layers of a
    # growing network wait.
    assert frozen <= still
    assert recipe == "pggan" or {each.rpartition(".")[2] for each in still - frozen} <= {"bias", "_u"}
    assert not any("discriminator_optimizer" in name and is_below(name, FIRST[recipe]) for name in after)
    parameters = {name: each.numel() for name, each in state.discriminator.named_parameters()}
    frozen = sum(count for name, count in parameters.items() if is_below(f"/{name}", FIRST[recipe]))
    total = sum(parameters.values())
    assert line.endswith(f"; {total - frozen:,} of its {total:,} parameters still train")


def test_layers_of_an_inner_network_count(registry):
    network = registry.build("discriminator", "dcgan-packed", SMALL, DataSpec((3, 16, 16)))
    assert find_layers(network, torch.zeros(4, 3, 16, 16), None) == [
        ["inner.layers.0"],
        ["inner.layers.2", "inner.layers.3"],
        ["inner.judge"],
    ]


def test_a_frozen_normalization_keeps_its_statistics(registry, data, tmp_path):
    state = train(registry, data, RunFolder.create(tmp_path, "x"), "generator:1", recipe="dcgan")
    first, second = (state.generator.layers[index] for index in (1, 4))
    assert torch.equal(first.running_mean, torch.zeros_like(first.running_mean))
    assert not torch.equal(second.running_mean, torch.zeros_like(second.running_mean))


def test_both_players_may_be_frozen_and_a_run_goes_on_bit_for_bit(registry, data, tmp_path):
    both = "discriminator:1,generator:1"
    whole, parts = RunFolder.create(tmp_path, "whole"), RunFolder.create(tmp_path, "parts")
    state = train(registry, data, whole, both)
    assert [line.split(";")[0] for line in state.notes] == [
        "frozen: discriminator layers.0",
        "frozen: generator first",
    ]
    train(registry, data, parts, both, images=8)
    train(registry, data, parts, both, resume=True)
    ours, theirs = (read_tensors(each.checkpoint_path(16))[0] for each in (parts, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_frozen_layers_of_an_average_are_those_of_the_generator_that_it_starts_from(registry, data, tmp_path):
    _, source = build(registry, data, ())
    for tensor in source.ema.state_dict().values():
        tensor.add_(1)
    source_tensors = source.tensors()
    _, state = build(registry, data, "generator:1")
    init_from(state, tmp_path / "x", source_tensors, {"kind": "checkpoint"})
    now = state.tensors()
    for name in state.generator.state_dict():
        expected = f"generator/{name}" if is_below(f"/{name}", ["first"]) else f"average/{name}"
        assert torch.equal(now[f"average/{name}"], source_tensors[expected]), name


def test_frozen_layers_stay_with_compiled_networks_and_microbatches(registry, data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))  # without a C++ compiler
    _, fresh = build(registry, data, "discriminator:2,generator:1")
    engine = Engine(ExecutionPlan("compile", "float32", "channels_last", 1, 2), CPU)
    state = train(registry, data, RunFolder.create(tmp_path, "x"), "discriminator:2,generator:1", engine)
    before, after = fresh.tensors(), state.tensors()
    frozen = state.frozen | {each.replace("generator/", "average/", 1) for each in state.frozen}
    assert len(frozen) == 8
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["discriminator/judge.weight"], after["discriminator/judge.weight"])


@pytest.mark.parametrize(
    ("freeze", "words"),
    [
        ("critic:2", "unknown network 'critic'.*did you mean|unknown network 'critic'"),
        ("discriminator", "training.freeze of discriminator"),
        ("discriminator:x", "training.freeze of discriminator"),
        ("discriminator:0", "discriminator has 3 layers to train .freeze 1 to 2"),
        ("discriminator:3", "discriminator has 3 layers to train .freeze 1 to 2"),
        ("generator:-1", "freeze 1 to"),
    ],
)
def test_what_cannot_be_frozen_is_refused(registry, data, freeze, words):
    with pytest.raises(OptionError, match=words):
        build(registry, data, freeze)


def test_an_objective_without_a_discriminator_has_none_to_freeze(registry, data):
    training = {"batch": 4, "d_steps": 0, "freeze": "discriminator:1"}
    off = {"discriminator": {"name": "none"}, "loss": {"name": "none"}, "regularizers": {}}
    config = resolve(registry, {"recipe": "dcgan", "generator": SMALL, **off, "training": training})
    with pytest.raises(OptionError, match="unknown network 'discriminator'"):
        build_state(config, registry, data.spec, CPU)


def test_layers_with_random_weights_are_not_frozen(run, here, image_folder):
    code, _, err = run(
        "train", "--data", image_folder, "--freeze", "discriminator:1", "--images", "8", "--device", "cpu"
    )
    assert code == 2
    assert "--freeze discriminator:1: these layers would keep random weights - add --init-from RUN" in err
    assert not (here / "runs").exists()


def test_the_command_says_what_it_froze_and_keeps_it(run, here, image_folder):
    options = ["--device", "cpu", "--engine", "eager", "--precision", "float32", "--batch", "8"]
    options += ["--set", "training.layout=contiguous", "--set", "training.threads=1", "--set", "training.samples=4"]
    widths = ["--set", "generator.width=4", "--set", "discriminator.width=4"]
    assert run("train", "--data", image_folder, "--images", "16", *options, *widths)[0] == 0
    code, out, err = run(
        "train", "--data", image_folder, "--init-from", "0", "--freeze", "discriminator:1", "--images", "16", *options
    )
    assert code == 0, err
    assert re.search(r"^frozen: discriminator layers.0; \S+ of its \S+ parameters still train$", err, re.MULTILINE)
    code, again, err = run("train", "--resume", "--images", "32")
    assert (code, again) == (0, out)
    assert "frozen: discriminator layers.0;" in err
    source = min((here / "runs").iterdir())
    first, last = (read_tensors(RunFolder(each).checkpoint_paths()[-1])[0] for each in (source, here / out.strip()))
    assert torch.equal(first["discriminator/layers.0.weight"], last["discriminator/layers.0.weight"])
    assert not torch.equal(first["discriminator/layers.2.weight"], last["discriminator/layers.2.weight"])
