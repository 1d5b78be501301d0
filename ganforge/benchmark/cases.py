"""What is timed of a recipe: its step, the loop around it, its data, and its generator as used and as exported."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable

import torch

from ganforge.benchmark.timing import Case, Timing, weigh
from ganforge.benchmark.training_setup import Kind, Players
from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Generator
from ganforge.core.seeding import seed_everything
from ganforge.export.torchscript import compile_generator
from ganforge.sampling import draw_latents, generate_batches, stand_in_labels
from ganforge.training.ema import update_ema
from ganforge.training.execution.engine import EAGER
from ganforge.training.recording.statistics import Statistics


def step_case(players: Players, kind: Kind) -> Case:
    """Steps of one kind; their batches lie ready."""

    def prepare(calls: int) -> Callable[[], None]:
        players.state.images = players.begin
        ready = [players.read() for _ in range(calls)]

        def run() -> None:
            for shown in ready:
                players.take_step(players.state, shown, kind.index)

        return run

    return prepare


class LoopCase:
    """Steps as the loop takes them: with random state, schedules, data, statistics and average, but without ticks.

    Args:
        players: Who takes them; they go on from step to step as in a run.

    Attributes:
        steps: For each call, the numbers of the steps that it took.
    """

    def __init__(self, players: Players) -> None:
        self.steps: list[list[int]] = []
        self._players = players
        self._images = players.begin
        self._statistics = Statistics()

    def __call__(self, calls: int) -> Callable[[], None]:
        players, size = self._players, self._players.step_images
        first = self._images // size
        self.steps.append(list(range(first, first + calls)))
        _make_ready(players, self._images)
        players.state.images = self._images

        def run() -> None:
            for _ in range(calls):
                self._advance()
            self._images = players.state.images

        return run

    def _advance(self) -> None:
        players, state, training = self._players, self._players.state, self._players.config.training
        iteration = state.images // players.step_images
        seed_everything(training.seed, "step", iteration)
        state.apply_schedules(players.config.optimizer)
        players.position = state.images
        for row in players.take_step(state, players.read(), iteration):
            self._statistics.add(row)
        update_ema(
            state.ema,
            state.generator,
            images=players.step_images,
            shown=state.images,
            half_life=training.ema_images.at(state.images),
        )

    def settle(self, seconds: list[float], kinds: list[Kind], steps: list[Timing]) -> Timing:
        """The time of a mean iteration, from samples in which lazy penalties were due more or less often than that.

        Args:
            seconds: Of an iteration, in each of the last samples.
            kinds: Of steps.
            steps: Time of a bare step of each kind.
        """
        medians = {kind: each.median for kind, each in zip(kinds, steps, strict=True)}
        mean = weigh(steps, [each.share for each in kinds]).median
        settled = []
        for each, indices in zip(seconds, self.steps[-len(seconds) :], strict=True):
            expected = sum(medians[self._players.kind_at(index, kinds)] for index in indices) / len(indices)
            settled.append(each * mean / expected)
        return Timing.of(settled)


def data_case(players: Players) -> Case:
    """Batches of real examples on the device, one after the other."""
    batch = players.config.training.batch

    def prepare(calls: int) -> Callable[[], None]:
        _make_ready(players, players.position)

        def run() -> None:
            for _ in range(calls):
                players.batches.read(players.position, batch)
                players.position += batch

        return run

    return prepare


def sample_case(players: Players) -> Case:
    """Batches of the averaged generator, as `ganforge sample` draws them."""
    batch = players.config.training.batch

    def prepare(calls: int) -> Callable[[], None]:
        labels = stand_in_labels(calls * batch, players.data.spec)

        def run() -> None:
            for _ in generate_batches(players.state.ema, calls * batch, labels=labels, batch=batch):
                pass

        return run

    return prepare


def export_case(players: Players) -> Case:
    """The averaged generator as an exported file, loaded again; latents lie ready.

    Raises:
        GanforgeError: It cannot be exported.
    """
    device = players.engine.device
    network = load_exported(players.state.ema, players.data.spec, device)
    batch = players.config.training.batch
    latents = draw_latents(batch, players.state.ema.z_dim, 0).to(device)
    labels = stand_in_labels(batch, players.data.spec)
    labels = None if labels is None else labels.to(device)

    def prepare(calls: int) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                for _ in range(calls):
                    network(latents, labels)

        return run

    return prepare


def load_exported(generator: Generator, data: DataSpec, device: torch.device) -> torch.jit.ScriptModule:
    """A generator as it comes out of its TorchScript file, which is kept in memory; see `compile_generator`."""
    network = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    EAGER.prepare(network)
    content = io.BytesIO()
    scripted = compile_generator(network.to(device), data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit says at every call that it is deprecated
        torch.jit.save(scripted, content)
        content.seek(0)
        loaded: torch.jit.ScriptModule = torch.jit.load(content, map_location=device)  # type: ignore[no-untyped-call]
    return loaded


def _make_ready(players: Players, start: int) -> None:
    """Let the examples from `start` on be prepared, as they are once batches before them were read."""
    batch = players.config.training.batch
    if start >= batch:
        players.batches.read(start - batch, batch)
