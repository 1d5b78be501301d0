"""Plugins of version 1 of the contract load unchanged: packages of this repository as they were at that version."""

import importlib
import sys
import types
from pathlib import Path

import pytest
import torch

from ganforge.config.schema import resolve
from ganforge.data.store import PackedData
from ganforge.plugins.loading import Plugin, collect_parts
from ganforge.plugins.registry import Registry
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch, take_step

CPU = torch.device("cpu")
PACKAGES = {
    "ganforge_pix2pix": {"dataset", "discriminator", "generator", "recipe", "regularizer"},
    "ganforge_r3gan": {"discriminator", "generator", "recipe"},
    "ganforge_sngan": {"discriminator", "generator", "recipe"},
    "ganforge_wandb": {"logger"},
}


@pytest.fixture
def load(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", types.ModuleType("wandb"))  # that package need not be installed
    monkeypatch.syspath_prepend(Path(__file__).parent / "version_1")

    def load(name):
        for each in [each for each in sys.modules if each.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, each)
        return importlib.import_module(name)

    yield load
    for each in [each for each in sys.modules if each.partition(".")[0] in PACKAGES]:
        del sys.modules[each]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_of_version_1_offers_all_its_parts(load, name):
    module = load(name)
    assert getattr(module, "GANFORGE_API", 1) == 1
    assert collect_parts(module).keys() >= PACKAGES[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe", "shape"), [("ganforge_sngan", "sngan", (3, 32, 32)), ("ganforge_r3gan", "r3gan", (3, 16, 16))]
)
def test_a_recipe_of_version_1_trains(load, name, recipe, shape):
    plugin = Plugin(name, name, "", "ok", parts=collect_parts(load(name)))
    registry = Registry([*Registry.installed().plugins, plugin])
    small = {"width": 8} if recipe == "sngan" else {}
    config = resolve(
        registry,
        {"recipe": recipe, "training": {"batch": 4, "d_steps": 1, "device": "cpu"}},
        {"generator": small, "discriminator": small},
    )
    torch.manual_seed(0)
    data = PackedData("test", torch.randint(0, 256, (8, *shape), dtype=torch.uint8), None, (), "abc")
    state = build_state(config, registry, data.spec, CPU)
    before = [each.clone() for each in state.generator.parameters()]
    state.apply_schedules(config.optimizer)
    rows = take_step(state, [read_batch(state, Batches(data, 0, CPU), EAGER, 0, 4)], 0)
    assert all(row[each] == 0 for row in rows for each in row if each.startswith("skipped/"))
    assert any(not torch.equal(old, new) for old, new in zip(before, state.generator.parameters(), strict=True))
