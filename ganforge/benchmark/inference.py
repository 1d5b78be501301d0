"""How quickly a recipe's generator draws: as it is, and as each file to which it can be exported."""

from __future__ import annotations

import copy
import importlib.metadata
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ganforge.benchmark.calls import LOADERS, call_eager
from ganforge.benchmark.programs import ONNXRUNTIME_ROOT, Programs, build_programs, join
from ganforge.benchmark.timing import Timing, measure_cases, repeat
from ganforge.benchmark.training_setup import Players
from ganforge.contract.errors import GanforgeError
from ganforge.contract.networks import Generator
from ganforge.export.examples import CallOptions, make_example
from ganforge.export.portable import Portable
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec
from ganforge.training.execution.engine import EAGER

BATCHES = (1, 64)
"""Examples in a call: one alone, and many at once."""

FORMATS = (
    ("torchscript", "float32"),
    ("torchscript", "bfloat16"),
    ("onnx", "float32"),
    ("pt2", "float32"),
    ("pt2", "bfloat16"),
)
"""Names of exporters, and the numbers in which their files compute; float32 if none are asked for."""

ROUNDS = 3
"""In which each file has its turn in C++."""

LeaveOut = Callable[[str, str], None]
"""Told what is not measured, and why."""


@dataclass(frozen=True)
class Served:
    """What is timed.

    Attributes:
        format: Name of the exporter; ``eager`` for the network itself.
        precision: Numbers in which it computes.
        language: ``Python``, or ``C++``, in which the calls are made.
        batch: Examples in a call.
    """

    format: str
    precision: str
    language: str
    batch: int

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.format}, {self.precision}, batch {self.batch}, from {self.language}"


def measure_serving(players: Players, registry: Registry, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Export a recipe's averaged generator, and time a call of the network and of each file, on the CPU.

    In Python all take turns. Then the programs in C++ do, each beside the network in Python, with whose time of that
    moment it is compared. All use as many threads as torch does.

    Args:
        players: Of the recipe.
        registry: Where exporters are looked up.
        seconds: For each file, batch and language, about.
        say: Told in one line of each file, and of each thing that cannot be measured.

    Returns:
        ``rows``, with times in seconds and the ratio of each to the time of the network at the same batch;
        ``versions`` of what computes them beside torch; and ``left_out``, a line for each thing that is not there.
    """
    generator = copy.deepcopy(players.state.average).cpu().float().eval().requires_grad_(False)
    EAGER.place(generator)
    portable = Portable(generator, players.data.spec)
    inputs = {batch: make_example(portable, generator, CallOptions(batch)).inputs for batch in BATCHES}
    left_out: list[str] = []

    def leave_out(what: str, why: str) -> None:
        left_out.append(f"{what} is not measured: {why}")
        say(left_out[-1])

    with tempfile.TemporaryDirectory(prefix="ganforge-bench-") as folder:
        files = export_files(generator, describe_generator(players), registry, Path(folder), say, leave_out)
        programs = None
        try:
            programs = build_programs(Path(folder) / "build")
        except GanforgeError as error:
            leave_out("C++", str(error))
        eager = {Served("eager", "float32", "Python", batch): call_eager(generator, inputs[batch]) for batch in BATCHES}
        cases = dict(eager)
        for (name, precision), path in files.items():
            for batch in BATCHES:
                cases[Served(name, precision, "Python", batch)] = LOADERS[path.suffix](path, inputs[batch])
        timings = time_python(cases, seconds)
        medians = {served.batch: timings[served].median for served in eager}
        rows = [make_row(served, timing, timing.median / medians[served.batch]) for served, timing in timings.items()]
        if programs is not None:
            rows += time_programs(programs, files, eager, seconds, leave_out)
    return {"rows": rows, "versions": list_versions(programs), "left_out": left_out}


def export_files(
    generator: Generator,
    card: Mapping[str, Any],
    registry: Registry,
    folder: Path,
    say: Callable[[str], None],
    leave_out: LeaveOut,
) -> dict[tuple[str, str], Path]:
    """Write a generator in each of `FORMATS` that can be had here; each file is proved first.

    Args:
        generator: On the CPU, in evaluation mode.
        card: What its files are to tell of it.
        registry: Where exporters are looked up.
        folder: Where the files go.
        say: Told in one line of each file.
        leave_out: Told of each that cannot be had.

    Returns:
        The files, by format and precision.
    """
    files = {}
    for name, precision in FORMATS:
        try:
            check_precision(precision)
            exporter = registry.build("exporter", name, {} if precision == "float32" else {"precision": precision})
            path = folder / f"{name}-{precision}{exporter.suffix}"
            report = exporter.export(generator, card, path)
        except GanforgeError as error:
            leave_out(f"{name}, {precision}", str(error))
            continue
        files[name, precision] = path
        say(f"{name}, {precision}: exported, equal to the network within {report.worst_difference:.1e}")
    return files


def describe_generator(players: Players) -> dict[str, Any]:
    """What the files tell of a generator that nobody has trained."""
    part, data = players.config.generator, players.data
    return {
        "generator": {"name": part.name, "options": dict(part.options)},
        "data": {"name": data.name, **describe_spec(data.spec)},
        "images": 0,
    }


def check_precision(precision: str) -> None:
    """Refuse numbers that this processor has no instructions for: computing with them would be slow for that alone.

    Raises:
        GanforgeError: It has none.
    """
    if precision == "bfloat16" and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        raise GanforgeError("this processor has neither avx512_bf16 nor amx_bf16")


def time_python(calls: Mapping[Served, Callable[[], object]], seconds: float) -> dict[Served, Timing]:
    """Time calls in turns, without gradients."""
    names = {served.name: served for served in calls}
    with torch.no_grad():
        samples = measure_cases({each.name: repeat(call) for each, call in calls.items()}, seconds, EAGER.finish)
    return {names[name]: Timing.of(taken) for name, taken in samples.items()}


def time_programs(
    programs: Programs,
    files: Mapping[tuple[str, str], Path],
    eager: Mapping[Served, Callable[[], object]],
    seconds: float,
    leave_out: LeaveOut,
) -> list[dict[str, Any]]:
    """Time files from C++ in turns, each right after the network in Python at the same batch; gives rows."""
    turns: dict[Served, Callable[[], Timing]] = {}
    for (name, precision), path in files.items():
        if path.suffix not in programs.by_suffix:
            leave_out(f"{name}, {precision}, from C++", f"{ONNXRUNTIME_ROOT} names no ONNX Runtime for it")
            continue
        for batch in BATCHES:
            time = partial(programs.time, path, batch, seconds / ROUNDS, torch.get_num_threads())
            turns[Served(name, precision, "C++", batch)] = time
    taken: dict[Served, list[Timing]] = {served: [] for served in turns}
    ratios: dict[Served, list[float]] = {served: [] for served in turns}
    for _ in range(ROUNDS):
        for served in list(taken):
            calls = {each: call for each, call in eager.items() if each.batch == served.batch}
            (beside,) = time_python(calls, seconds / ROUNDS).values()
            try:
                timing = turns[served]()
            except GanforgeError as error:
                del taken[served]
                leave_out(served.name, str(error))
                continue
            taken[served].append(timing)
            ratios[served].append(timing.median / beside.median)
    return [make_row(served, join(all_of), statistics.median(ratios[served])) for served, all_of in taken.items()]


def make_row(served: Served, timing: Timing, ratio: float) -> dict[str, Any]:
    """What was measured of one, fit for JSON; its ratio is that to the network in Python."""
    return {**asdict(served), **timing.tree(), "images_per_second": served.batch / timing.median, "ratio": ratio}


def list_versions(programs: Programs | None) -> dict[str, str | None]:
    """Of ONNX Runtime in Python and of the compiler in C++; None where there is none."""
    try:
        runtime = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        runtime = None
    return {"onnxruntime": runtime, "compiler": None if programs is None else programs.compiler}
