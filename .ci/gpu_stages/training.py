"""Stage 3: runs with everything chosen by autotune, killed and resumed, rolled back, and growing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from items import Context, Item, device_of, fork, require, run_command, succeed, wait_for

from ganforge import Loss, Pair
from ganforge.builtin.losses import NonSaturating
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state

FEW = ["--set", "data.count=128", "--set", "training.samples=4"]
NARROW = ["--set", "generator.width=8", "--set", "discriminator.width=8"]
SMALL = [*FEW, *NARROW]


def train_by_default(context: Context) -> None:
    """Train a DCGAN with a cold cache, and everything chosen by autotune; keep its last samples."""
    device_of(context)
    os.environ["GANFORGE_CACHE"] = str(context.work / "cache")
    size = context.pick(
        ["--resolution", 64, "--images", "500k"], ["--resolution", 16, "--images", 128, "--batch", 8, *SMALL]
    )
    succeed("train", "--arch", "dcgan", "--device", context.device, "--out", context.work, *size)
    for plan in (context.work / "cache" / "plans").glob("*.json"):
        print(plan.read_text())
    newest = max((context.work).glob("*/samples/*.png"))
    shutil.copyfile(newest, context.out / "dcgan.png")


def resume_after_kill(context: Context) -> None:
    """Kill runs and resume them: with deterministic algorithms to equal bytes, and without."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    os.environ["GANFORGE_CACHE"] = str(context.work / "cache")
    images, every = context.pick((40_000, 8_000), (96, 48))
    shared = ["--set", "training.batch=8", *SMALL] if context.rehearse else ["--set", "data.count=2000"]
    shared += ["--resolution", context.pick(32, 16), "--device", context.device, "--engine", "graph"]
    shared += ["--precision", "float32", "--set", "training.layout=channels_last", "--images", images]
    shared += ["--set", f"training.checkpoint_images={every}", "--set", "training.keep_checkpoints=100"]

    def run(deterministic: bool, *arguments: object) -> None:
        device_of(context)
        torch.use_deterministic_algorithms(deterministic)
        raise SystemExit(run_command(*arguments))

    for deterministic in (True, False):
        whole, broken = (context.work / f"{name}-{deterministic}" for name in ("whole", "broken"))
        start = ["train", "--arch", "dcgan", *shared, "--out"]
        code = wait_for(fork(partial(run, deterministic, *start, whole)), 60)
        require(code == 0, f"the unbroken run ends with {code}")
        child = fork(partial(run, deterministic, *start, broken))
        while not list(broken.glob("*/checkpoints/*.safetensors")):
            require(os.waitpid(child, os.WNOHANG)[0] == 0, "the run ended before it was killed")
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (folder,) = broken.glob("0*")
        code = wait_for(fork(partial(run, deterministic, "train", folder, "--resume", "--images", images)), 60)
        require(code == 0, f"the resumed run ends with {code}")
        ours, theirs = (
            read_tensors(RunFolder(next(each.glob("0*"))).checkpoint_path(images))[0] for each in (broken, whole)
        )
        networks = [name for name in theirs if not name.startswith("statistics/")]
        differing = [name for name in networks if not torch.equal(ours[name], theirs[name])]
        print(f"deterministic={deterministic}: {len(differing)} of {len(networks)} tensors differ", flush=True)
        require(not (deterministic and differing), f"{differing[:5]} differ")


class Poisoned(NonSaturating, Loss):
    """Loss times a number on the device, which is changed from outside."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.factor = [torch.ones((), device=device)]  # no buffer, which a skipped step would restore

    def discriminator(self, logits: Pair) -> torch.Tensor:
        return super().discriminator(logits) * self.factor[0]


class Watcher:
    """Console that poisons a loss at a tick, and cures it when the run rolls back."""

    def __init__(self, loss: Poisoned) -> None:
        self.loss, self.ticks = loss, 0
        self.notes: list[str] = []

    def step(self, images: int, seconds: float) -> None:
        """Ignore a step."""

    def tick(self, row: dict[str, Any]) -> None:
        """Poison the loss at the third tick."""
        self.ticks += 1
        if self.ticks == 3:
            self.loss.factor[0].fill_(float("nan"))

    def score(self, row: dict[str, Any]) -> None:
        """Ignore a score."""

    def note(self, text: str) -> None:
        """Cure the loss after a rollback."""
        print(text, flush=True)
        self.notes.append(text)
        if "rolling back" in text:
            self.loss.factor[0].fill_(1.0)


def roll_back(context: Context) -> None:
    """Roll a diverged run back while its steps are replayed."""
    device, registry = device_of(context), Registry.installed()
    said: list[str] = []
    torch.manual_seed(7)
    data = PackedData("test", torch.randint(0, 256, (100, 3, 32, 32), dtype=torch.uint8), None, (), "abc")
    settings = ["generator.width=8", "discriminator.width=8", "training.batch=4", "training.tick_images=32"]
    settings += ["training.images=400", "training.checkpoint_images=32"]
    config = resolve(registry, *load_layers(None, {"recipe": "dcgan"}, [], settings))
    state = build_state(config, registry, data.spec, device)
    state.loss = loss = Poisoned(device)
    record = open_recorder(config, registry, data, RunFolder.create(context.work, "poisoned"), state)
    watcher = Watcher(loss)
    loop.train(
        state, Batches(data, 0, device), record, config, watcher,
        Engine(ExecutionPlan(engine="graph", layout="channels_last"), device, said.append),
    )  # fmt: skip
    require(any("rolling back" in text for text in watcher.notes), f"no rollback: {watcher.notes}")
    require(not said, f"not recorded: {said}")
    require(state.images == 400 and state.rollbacks == 1, f"{state.images} images, {state.rollbacks} rollbacks")


def grow(context: Context) -> None:
    """Train growing networks through their transitions, and record steps after them."""
    device_of(context)
    os.environ["GANFORGE_CACHE"] = str(context.work / "cache")
    stages = context.pick(2000, 16)
    sizes = ["--resolution", context.pick(32, 8), "--images", context.pick("16k", 80), "--batch", context.pick(16, 8)]
    options = [f"{p}.{o}={stages}" for p in ("generator", "discriminator") for o in ("stage_images", "fade_images")]
    for recipe in ("pggan", "stylegan"):
        growing = [f"{p}.growing=true" for p in ("generator", "discriminator") if recipe == "stylegan"]
        small = SMALL if context.rehearse else ["--set", "data.count=2000"]
        arguments = [word for each in [*options, *growing] for word in ("--set", each)]
        for precision in ("float32", "bfloat16"):
            succeed(
                "train", "--arch", recipe, *sizes, *small, *arguments, "--engine", "graph", "--precision", precision,
                "--set", "training.layout=channels_last", "--device", context.device, "--out", context.work,
            )  # fmt: skip
    for path in sorted(Path(context.work).glob("*/log.txt")):
        print(path.parent.name, path.read_text())


ITEMS = [
    Item("everything by default", 200, train_by_default),
    Item("killed and resumed", 150, resume_after_kill),
    Item("rolled back", 60, roll_back),
    Item("growing", 150, grow),
]
