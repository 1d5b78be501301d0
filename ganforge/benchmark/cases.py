"""Benchmark cases: step, training loop, data, sampling, exported generator, and the machine's own speed."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ganforge.benchmark.timing import Case, Timing, repeat, weighted_mean
from ganforge.benchmark.training_setup import Players, StepKind
from ganforge.contract.data import DataSpec
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import backend_of
from ganforge.core.seeding import seed_everything
from ganforge.export.torchscript import compile_generator
from ganforge.sampling import draw_latents, generate_batches, stand_in_labels
from ganforge.training.execution.engine import EAGER
from ganforge.training.recording.statistics import Statistics


def step_case(players: Players, kind: StepKind) -> Case:
    """Return a case of steps of one kind with prepared batches."""

    def prepare(calls: int) -> Callable[[], None]:
        players.state.images = players.begin
        ready = [players.read() for _ in range(calls)]

        def run() -> None:
            for shown in ready:
                players.take_step(players.state, shown, kind.index)

        return run

    return prepare


class LoopCase:
    """Case of the training loop: seeding, schedules, data, steps, statistics and EMA, but no ticks.

    Attributes:
        steps: Step numbers of each sample; the state advances as in training.
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
        batch = players.config.training.batch
        if self._images >= batch:  # prefetches the first batch
            players.batches.read(self._images - batch, batch)
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
        half_life = training.ema_images.at(state.images)
        state.update_ema(players.step_images, half_life)

    def correct(self, seconds: list[float], kinds: list[StepKind], steps: list[Timing]) -> Timing:
        """Return the time of a mean iteration from samples, corrected for the kinds of steps in each of them."""
        medians = {kind: each.median for kind, each in zip(kinds, steps, strict=True)}
        mean = weighted_mean(steps, [each.share for each in kinds]).median
        corrected = []
        for each, indices in zip(seconds, self.steps[-len(seconds) :], strict=True):
            expected = sum(medians[self._players.kind_at(index, kinds)] for index in indices) / len(indices)
            corrected.append(each * mean / expected)
        return Timing.of(corrected)


def data_case(players: Players) -> Case:
    """Return a case of reading batches to the device."""
    batch = players.config.training.batch

    def read() -> None:
        players.batches.read(players.position, batch)
        players.position += batch

    return repeat(read)


def sample_case(players: Players) -> Case:
    """Return a case of sampling from the EMA generator."""
    batch = players.config.training.batch

    labels = stand_in_labels(batch, players.data.spec)
    return repeat(lambda: list(generate_batches(players.state.ema, batch, labels=labels, batch=batch)))


def export_case(players: Players) -> Case:
    """Return a case of calling the exported EMA generator; raise `GanforgeError` if it cannot be exported."""
    device, batch = players.engine.device, players.config.training.batch
    network = load_exported(players.state.ema, players.data.spec, device)
    latents = draw_latents(batch, players.state.ema.z_dim, 0).to(device)
    labels = stand_in_labels(batch, players.data.spec)
    labels = None if labels is None else labels.to(device)
    return repeat(torch.no_grad()(partial(network, latents, labels)))


def load_exported(generator: Generator, data: DataSpec, device: torch.device) -> torch.jit.ScriptModule:
    """Export a generator to TorchScript in memory, and load it."""
    network = copy.deepcopy(generator).cpu().float().eval().requires_grad_(False)
    EAGER.prepare(network)
    content = io.BytesIO()
    scripted = compile_generator(network.to(device), data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit warns at every call that it is deprecated
        torch.jit.save(scripted, content)
        content.seek(0)
        loaded: torch.jit.ScriptModule = torch.jit.load(content, map_location=device)  # type: ignore[no-untyped-call]
    return loaded


def machine_cases(device: torch.device) -> dict[str, Case]:
    """Return cases of ``float32`` (TF32 if convolutions use it) and ``bfloat16`` matrix products, and of a ``copy``."""
    backend = backend_of(device)
    cases = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.randn(backend.edge, backend.edge, device=device).to(kind)
        cases[name] = repeat(partial(_multiply, matrix, torch.empty_like(matrix)))
    source = torch.ones(backend.copied_bytes, dtype=torch.uint8, device=device)
    cases["copy"] = repeat(partial(torch.empty_like(source).copy_, source))
    return cases


def _multiply(matrix: Tensor, into: Tensor) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if matrix.is_cuda and torch.backends.cudnn.allow_tf32 else before)
    try:
        torch.mm(matrix, matrix, out=into)
    finally:
        torch.set_float32_matmul_precision(before)
