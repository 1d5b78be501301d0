"""An objective without a discriminator: the likelihood of a normal distribution."""

from pathlib import Path

import pytest
import torch

from ganforge import DataSpec, OptionError, Regularizer
from ganforge.builtin.mlp import MLPGenerator
from ganforge.config.schema import resolve
from ganforge.contract.errors import PluginError
from ganforge.core.seeding import seed_everything
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, take_step

CPU = torch.device("cpu")

PLUGIN = """
import torch
from torch import nn
from ganforge import Generator, Recipe, Regularizer, hookimpl


class Gaussian(Generator):
    '''Draws from a normal distribution whose mean and deviation are learned.'''

    def __init__(self, data):
        super().__init__()
        self.z_dim = 2
        self.mean = nn.Parameter(torch.zeros(2))
        self.log_deviation = nn.Parameter(torch.zeros(2))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.mean + self.log_deviation.exp() * z


class Likelihood(Regularizer):
    '''Negative logarithm of the likelihood of real examples.'''

    def generator(self, step):
        made = step.generator
        unit = (step.images.real - made.mean) / made.log_deviation.exp()
        return (unit.square() / 2 + made.log_deviation).sum(1).mean()


@hookimpl
def ganforge_generators():
    return {"gaussian": Gaussian}


@hookimpl
def ganforge_regularizers():
    return {"likelihood": Likelihood}


@hookimpl
def ganforge_recipes():
    plan = {"engine": "eager", "precision": "float32", "layout": "contiguous", "threads": 1, "device": "cpu"}
    settings = {
        "data": {"source": "ring-8"},
        "generator": {"name": "gaussian"},
        "regularizers": {"likelihood": {}},
        "optimizer": {"generator_lr": 0.01},
        "training": {"d_steps": 0, "batch": 64, "ema_images": 0, **plan},
    }
    return {"gauss": Recipe("A normal distribution.", "Gauss 1809", settings)}
"""


@pytest.fixture
def plugin(here):
    (here / "gauss.py").write_text(PLUGIN)
    return ["--plugin", "gauss.py"]


@pytest.mark.slow
def test_a_run_without_a_discriminator_learns_goes_on_bit_for_bit_draws_and_is_exported(plugin, run):
    for name, images in (("once", 51_200), ("twice", 25_600)):
        code, _, err = run("train", "--arch", "gauss", "--images", images, "--name", name, *plugin)
        assert code == 0, err
    assert "gauss, no discriminator, on" in err
    assert run("train", "--resume", "1", "--images", 51_200, *plugin)[0] == 0
    first, second = (read_tensors(RunFolder.find(each, Path("runs")).checkpoint_path(51_200))[0] for each in ("0", "1"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(name.startswith(("discriminator", "loss")) for name in first)
    assert first["generator/mean"].abs().max() < 0.1
    # The variance of a circle of radius 1 along each axis is 1 / 2.
    assert first["generator/log_deviation"].exp().tolist() == pytest.approx([0.5**0.5] * 2, rel=0.1)
    assert run("sample", "0", "--count", 4, *plugin)[0] == 0
    assert run("export", "0", "--torchscript", *plugin)[0] == 0
    assert run("report", "0", *plugin)[0] == 0


@pytest.mark.slow
def test_the_name_of_a_run_has_no_loss_and_one_discriminator_step_needs_a_discriminator(plugin, run, here):
    assert run("train", "--arch", "gauss", "--images", 64, *plugin)[0] == 0
    assert [each.name for each in (here / "runs").iterdir()] == ["00000-gauss-ring-8"]
    code, _, err = run("train", "--arch", "gauss", "--d-steps", 1, "--images", 64, *plugin)
    assert code == 2
    assert "no discriminator given" in err


class Moment(Regularizer):
    """Weights decay by the size of real examples; what is drawn is logged where `looks`."""

    def __init__(self, *, looks: bool = False, silent: bool = False):
        super().__init__()
        self.looks, self.silent = looks, silent

    def generator(self, step):
        if self.looks:
            step.log("drawn", step.images.fake.mean())
        decay = torch.stack([each.square().mean() for each in step.generator.parameters()]).mean()
        return None if self.silent else decay * step.images.real.square().mean()


def make(**options):
    plugin = Plugin("moment", "moment", "1", "ok", parts={"regularizer": {"moment": Moment}})
    registry = Registry([*Registry.installed().plugins, plugin])
    tree = {
        "recipe": "mixture",
        "generator": {"name": "mlp", "hidden": [4], "z_dim": 2},
        "discriminator": {"name": "none"},
        "loss": {"name": "none"},
        "regularizers": {"moment": options},
        "training": {"d_steps": 0, "batch": 8},
    }
    config = resolve(registry, tree)
    return build_state(config, registry, DataSpec((2,)), CPU), config


def step(state, config, accumulate=1):
    seed_everything(0, "step", 0)
    state.apply_schedules(config.optimizer)
    state.penalties = [each for each in state.penalties if each.name == "moment"]
    source = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(8, 2, generator=source), torch.randn(8, 2, generator=source))
    return take_step(state, [batch], 0, Engine(ExecutionPlan(accumulate=accumulate), CPU))


def test_examples_are_generated_only_for_a_term_that_asks(monkeypatch):
    passes = []
    forward = MLPGenerator.forward
    monkeypatch.setattr(MLPGenerator, "forward", lambda self, *given: passes.append(1) or forward(self, *given))
    for looks in (False, True):
        state, config = make(looks=looks)
        passes.clear()
        (row,) = step(state, config)
        assert len(passes) == looks
        assert ("generator/moment/drawn" in row) is looks


def test_microbatches_are_the_batch():
    (first, config), (second, _) = make(looks=True), make(looks=True)
    whole, parts = step(first, config)[0], step(second, config, 4)[0]
    assert all(torch.allclose(value, parts[name], atol=1e-6) for name, value in whole.items())
    first, second = first.tensors(), second.tensors()
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_a_step_without_any_term_is_told():
    with pytest.raises(PluginError, match="no regularizer returned a term of the generator, and there is no discrim"):
        step(*make(silent=True))


@pytest.mark.parametrize("part", ["discriminator", "loss"])
def test_parts_that_would_do_nothing_are_told(part):
    tree = {"recipe": "mlp", "training": {"d_steps": 0}}
    with pytest.raises(OptionError, match=f"d_steps=0 trains without a discriminator, but {part}.name is"):
        resolve(Registry.installed(), tree, {} if part == "discriminator" else {"discriminator": {"name": "none"}})
