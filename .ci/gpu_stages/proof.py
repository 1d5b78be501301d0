"""Stage 1: tests on the GPU, and recorded steps of every recipe."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from items import Context, Item, device_of, require

from ganforge import Regularizer, Step
from ganforge.benchmark.training_setup import Players, draw_noise, open_players
from ganforge.config.schema import resolve
from ganforge.core.accelerator import name_device
from ganforge.core.seeding import seed_everything
from ganforge.data.pack import probe_spec
from ganforge.plugins.registry import Registry
from ganforge.training.execution import cuda_graphs
from ganforge.training.state import Penalty
from ganforge.version import __version__

TESTS = Path(__file__).parents[2] / "tests" / "test_gpu.py"


def print_versions(context: Context) -> None:
    """Print the machine and the versions."""
    device = device_of(context)
    print("ganforge", __version__, "torch", torch.__version__, "python", platform.python_version())
    print(device, name_device(device), "CUDA", torch.version.cuda, "cuDNN", torch.backends.cudnn.version())
    if shutil.which("nvidia-smi"):
        subprocess.run(["nvidia-smi"], check=False)
    print(torch.ones(3, device=device).sum().item())


def run_tests(context: Context) -> None:
    """Run the tests that are marked gpu."""
    import pytest

    device_of(context)
    os.environ["GANFORGE_TEST_DEVICE"] = context.device
    few = ["-k", "not stylegan and not native and not wgan"] if context.rehearse else []
    code = pytest.main(["-m", "gpu", "-n", "0", "-p", "no:cacheprovider", "-q", "-s", str(TESTS), *few])
    require(code == 0, f"pytest ends with {code}")


def open_recipe(context: Context, recipe: str, log: list[str], **plan: Any) -> Players:
    """Return a recipe that is ready to train on noise, after its networks have grown."""
    registry = Registry.installed()
    training = {"batch": context.pick(32, 8), "engine": "graph", "precision": "float32", "layout": "channels_last"}
    tree: dict[str, Any] = {"recipe": recipe, "training": {**training, **plan}}
    if context.rehearse:
        for player in ("generator", "discriminator"):
            name = registry.part("recipe", recipe).factory.settings.get(player, {}).get("name")
            options = {} if name is None else registry.options(player, name)
            tree[player] = {key: value for key, value in {"width": 8, "max_width": 8}.items() if key in options}
    config = resolve(registry, tree)
    spec = probe_spec(config.data, registry)
    if spec.is_image:
        tree["data"] = {"resolution": context.pick(min(64, spec.shape[1]), 16)}
        config = resolve(registry, tree)
        spec = probe_spec(config.data, registry)
    return open_players(config, registry, draw_noise(spec, config.training.batch), device_of(context), log.append)


def take_steps(players: Players, count: int, first: int = 0) -> list[float]:
    """Take steps like training, and return the last values of the first row."""
    row: dict[str, torch.Tensor] = {}
    for index in range(first, first + count):
        seed_everything(0, "step", index)
        players.state.apply_schedules(players.config.optimizer)
        row = players.take_step(players.state, players.read(), index)[0]
    players.engine.finish()
    return [value.item() for value in row.values()]


def record_recipes(context: Context) -> None:
    """Take 20 steps of every recipe in both precisions with graphs, and print what is not recorded."""
    failed = []
    for recipe in dict.fromkeys(Registry.installed().names("recipe")):
        for precision in ("float32", "bfloat16"):
            said: list[str] = []
            start = time.perf_counter()
            try:
                players = open_recipe(context, recipe, said, precision=precision)
                values = take_steps(players, context.pick(20, 3))
                finite = all(value == value for value in values)
                outcome = "ok" if finite else f"not finite: {values}"
            except Exception as error:
                outcome = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            seconds = time.perf_counter() - start
            print(f"{recipe:20} {precision:9} {seconds:6.1f} s  {outcome}  {'; '.join(said)}", flush=True)
            if outcome != "ok":
                failed.append(f"{recipe} in {precision}")
    require(not failed, ", ".join(failed))


class Reading(Regularizer):
    """Reads a number from the device, as a plugin may."""

    def discriminator(self, step: Step) -> torch.Tensor:
        return step.logits.real.square().mean() * min(1.0, abs(step.logits.real.mean().item()))


@contextmanager
def unnoticed() -> Iterator[list[str]]:
    """Replacement of the detection of synchronizations that notices none."""
    yield []


def refuse_waits(context: Context) -> None:
    """Train on with a plugin that synchronizes: found before the capture, and by a capture that fails."""
    for detects in (True, False):
        said: list[str] = []
        players = open_recipe(context, "dcgan", said)
        if not detects:
            cuda_graphs.detecting_waits = unnoticed
            if context.device == "cpu":
                import stand_in

                stand_in.StandIn.detects = False
        schedule = resolve(Registry.installed(), {"regularizers": {"r1": {"weight": 1}}}).regularizers[0].weight
        players.state.penalties = [Penalty("reading", Reading(), schedule, 1)]
        values = take_steps(players, 8)
        print("detected" if detects else "not detected", said, values)
        require(any("CUDA graphs disabled" in line for line in said), "steps were recorded")
        require(all(value == value for value in values), "values are not finite")
        following: list[str] = []
        take_steps(open_recipe(context, "dcgan", following), 8)
        require(not following, f"a run after it is not recorded: {following}")


def record_after_eager(context: Context) -> None:
    """Record steps in a process that has taken eager steps, as a comparison of plans does."""
    for engine in ("eager", "graph", "eager", "graph"):
        said: list[str] = []
        take_steps(open_recipe(context, "stylegan", said, engine=engine), context.pick(4, 3))
        require(not said, str(said))


ITEMS = [
    Item("versions", 60, print_versions),
    Item("tests", 180, run_tests),
    Item("recorded recipes", 200, record_recipes),
    Item("plugins that synchronize", 45, refuse_waits),
    Item("eager, then graphs", 45, record_after_eager),
]
