"""Speed of a generator and of its exported files."""

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
from torch import Tensor

from ganforge.benchmark.programs import ONNXRUNTIME_ROOT, Programs, build_programs, join
from ganforge.benchmark.timing import Timing, measure_cases, repeat
from ganforge.benchmark.training_setup import Players
from ganforge.contract.errors import GanforgeError
from ganforge.contract.networks import Generator
from ganforge.export.examples import CallOptions, make_example
from ganforge.export.portable import Portable
from ganforge.export.scripting import quiet
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec
from ganforge.training.execution.engine import EAGER

BATCHES = (1, 64)  # batch sizes

FORMATS = (
    ("torchscript", "float32"),
    ("torchscript", "bfloat16"),
    ("onnx", "float32"),
    ("pt2", "float32"),
    ("pt2", "bfloat16"),
)
"""Exporters and precisions."""

ROUNDS = 3  # number of turns of each file in C++
LeaveOut = Callable[[str, str], None]  # called with what is not measured, and the reason

Call = Callable[[], Any]


@dataclass(frozen=True)
class Served:
    """Measured generator: exporter or ``eager``, precision, ``Python`` or ``C++``, and batch size."""

    format: str
    precision: str
    language: str
    batch: int

    @property
    def name(self) -> str:
        """Description in words."""
        return f"{self.format}, {self.precision}, batch {self.batch}, from {self.language}"


def call_eager(generator: Generator, inputs: Mapping[str, Tensor]) -> Call:
    """Return a call of a network on prepared inputs."""
    return partial(generator, inputs["z"], inputs.get("labels"))


def _call_torchscript(path: Path, inputs: Mapping[str, Tensor]) -> Call:
    with quiet():
        network = torch.jit.load(str(path))  # type: ignore[no-untyped-call]
    return partial(network, inputs["z"], inputs.get("labels"))


def _call_onnx(path: Path, inputs: Mapping[str, Tensor]) -> Call:
    """Return a call of ONNX Runtime without spinning threads, which would slow down the next case."""
    onnxruntime = importlib.import_module("onnxruntime")  # optional dependency
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, {name: each.numpy() for name, each in inputs.items()})


def _call_inductor(path: Path, inputs: Mapping[str, Tensor]) -> Call:
    return partial(torch._inductor.aoti_load_package(str(path)), *inputs.values())


LOADERS: dict[str, Callable[[Path, Mapping[str, Tensor]], Call]] = {
    ".pt": _call_torchscript,
    ".onnx": _call_onnx,
    ".pt2": _call_inductor,
}
"""Loaders by file extension. Each batch size loads its own network, which may specialize on the first size it sees."""


def measure_serving(players: Players, registry: Registry, seconds: float, say: Callable[[str], None]) -> dict[str, Any]:
    """Export the EMA generator, and time calls of the network and of each file on the CPU, for about `seconds` each.

    In Python all cases take turns. Each C++ program is compared with a simultaneous timing of the network. Returns
    ``rows`` with times and their ratio to the network at the same batch size; ``versions``; and ``left_out``.
    """
    generator = copy.deepcopy(players.state.ema).cpu().float().eval().requires_grad_(False)
    EAGER.prepare(generator)
    portable = Portable(generator, players.data.spec)
    inputs = {batch: make_example(portable, generator, CallOptions(batch)).inputs for batch in BATCHES}
    left_out: list[str] = []

    def leave_out(what: str, why: str) -> None:
        left_out.append(f"{what} is not measured: {why}")
        say(left_out[-1])

    with tempfile.TemporaryDirectory(prefix="ganforge-bench-") as folder:
        files = _export_files(generator, describe_generator(players), registry, Path(folder), say, leave_out)
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
    try:
        runtime = importlib.metadata.version("onnxruntime")
    except importlib.metadata.PackageNotFoundError:
        runtime = None
    versions = {"onnxruntime": runtime, "compiler": None if programs is None else programs.compiler}
    return {"rows": rows, "versions": versions, "left_out": left_out}


def _export_files(
    generator: Generator,
    card: Mapping[str, Any],
    registry: Registry,
    folder: Path,
    say: Callable[[str], None],
    leave_out: LeaveOut,
) -> dict[tuple[str, str], Path]:
    """Export and verify a generator in each available format; return the files by format and precision."""
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
    """Return the card of an untrained generator."""
    part, data = players.config.generator, players.data
    return {
        "generator": {"name": part.name, "options": dict(part.options)},
        "data": {"name": data.name, **describe_spec(data.spec)},
        "images": 0,
    }


def check_precision(precision: str) -> None:
    """Raise `GanforgeError` if the processor has no instructions for the precision."""
    if precision == "bfloat16" and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        raise GanforgeError("this processor has neither avx512_bf16 nor amx_bf16")


def time_python(calls: Mapping[Served, Call], seconds: float) -> dict[Served, Timing]:
    """Time calls in turns, without gradients."""
    names = {served.name: served for served in calls}
    with torch.no_grad():
        samples = measure_cases({each.name: repeat(call) for each, call in calls.items()}, seconds, EAGER.finish)
    return {names[name]: Timing.of(taken) for name, taken in samples.items()}


def time_programs(
    programs: Programs,
    files: Mapping[tuple[str, str], Path],
    eager: Mapping[Served, Call],
    seconds: float,
    leave_out: LeaveOut,
) -> list[dict[str, Any]]:
    """Time files in C++ in turns, each after the network in Python at the same batch size; return rows."""
    turns: dict[Served, Callable[[], Timing]] = {}
    for (name, precision), path in files.items():
        if path.suffix not in programs.by_suffix:
            leave_out(f"{name}, {precision}, from C++", f"{ONNXRUNTIME_ROOT} is not set")
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
    return [make_row(served, join(timings), statistics.median(ratios[served])) for served, timings in taken.items()]


def make_row(served: Served, timing: Timing, ratio: float) -> dict[str, Any]:
    """Return a row for JSON; `ratio` is that to the network in Python."""
    return {**asdict(served), **timing.tree(), "images_per_second": served.batch / timing.median, "ratio": ratio}
