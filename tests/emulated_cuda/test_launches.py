"""Kernel launches and memory traffic of a step are those of the table in docs/benchmarks.md."""

import re
from pathlib import Path

import pytest
import torch

from ganforge.config.schema import resolve
from ganforge.data.pack import probe_spec
from ganforge.plugins.registry import Registry
from ganforge.testing.emulation.cases import PLANS
from ganforge.testing.emulation.hooks import emulated_cuda, find_obstacle, run_apart
from ganforge.testing.emulation.training import EmulatedRun
from ganforge.testing.emulation.watch import Watch

TABLE = Path(__file__).parents[2] / "docs" / "benchmarks.md"
ROW = re.compile(r"\| `(\w+)` +\| (\d+) \| (\d+) \| (plain|lazy penalties) \| ([\d,]+) \| ([\d.]+) GB \| ([\d.]+) % \|")
obstacle = find_obstacle()
pytestmark = pytest.mark.skipif(bool(obstacle), reason=obstacle)


def read_table():
    return ROW.findall(TABLE.read_text())


def count(recipe, resolution, batch, kind):
    registry = Registry.installed()
    tree = {"recipe": recipe, "data": {"resolution": resolution}, "training": {"batch": batch}}
    config = resolve(registry, tree)
    data = probe_spec(config.data, registry)
    with emulated_cuda():
        run = EmulatedRun.open(config, registry, data, PLANS["bfloat16"])
        run.take_bare_step(1, Watch())  # allocates the state of the optimizers
        watch = Watch(run.state.networks())
        run.take_bare_step(1 if kind == "plain" else 0, watch)
    return watch.summary()


def differentiate_a_convolution():
    with emulated_cuda(), Watch() as watch:
        x, weight = (
            torch.randn(2, 3, 4, 4, device="cuda").contiguous(memory_format=torch.channels_last).requires_grad_()
            for _ in range(2)
        )
        torch.nn.functional.conv2d(x, weight).sum().backward()
        assert watch.faults == {}
        return [each.grad.stride() for each in (x, weight)]


@pytest.mark.slow
def test_gradients_of_convolutions_stay_channels_last_as_on_a_device():
    assert run_apart(differentiate_a_convolution) == [(48, 1, 12, 3)] * 2


def test_the_table_has_all_rows():
    assert [row[0] for row in read_table()] == ["dcgan", "stylegan", "stylegan", "stylegan2", "stylegan2"]


@pytest.mark.parametrize("row", [
    pytest.param(row, id=f"{row[0]}-{row[3]}", marks=pytest.mark.slow if row[0] == "dcgan" else pytest.mark.exhaustive)
    for row in read_table()
])  # fmt: skip
def test_a_step_launches_and_moves_what_the_table_says(row):
    recipe, resolution, batch, kind, launches, gigabytes, share = row
    watch = run_apart(count, recipe, int(resolution), int(batch), kind)
    assert watch.launches == int(launches.replace(",", ""))
    assert watch.bytes / 1e9 == pytest.approx(float(gigabytes), abs=0.06)
    assert 100 * watch.share_of_float32 == pytest.approx(float(share), abs=0.06)
    if kind == "plain" or recipe != "stylegan2":  # path lengths are computed in float32
        assert 100 * watch.share_of_float32 < 3
    assert not watch.faults
