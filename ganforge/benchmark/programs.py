"""Programs in C++ that time an exported file; they are built here, against the libtorch of this Python."""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ganforge.benchmark.timing import Timing
from ganforge.contract.errors import GanforgeError
from ganforge.export.project import SOURCES

ONNXRUNTIME_ROOT = "ONNXRUNTIME_ROOT"
"""Variable of the environment: a folder with ``include/`` and ``lib/`` of ONNX Runtime, for Python's has no headers."""

LEAST_SECONDS = 0.001
"""That the programs take for ``--seconds``."""


@dataclass(frozen=True)
class Programs:
    """What was built.

    Attributes:
        compiler: Its name and version.
        by_suffix: The program that times files whose names end so.
    """

    compiler: str
    by_suffix: Mapping[str, Path]

    def time(self, path: Path, batch: int, seconds: float, threads: int) -> Timing:
        """Time single calls of a file.

        Args:
            path: The exported file.
            batch: Examples in a call.
            seconds: About; three calls are made anyway.
            threads: That compute.

        Raises:
            GanforgeError: The program fails.
        """
        given = ["--batch", batch, "--seconds", max(seconds, LEAST_SECONDS), "--threads", threads]
        report = json.loads(run_program(self.by_suffix[path.suffix], path, *given))
        least, median, most = report["seconds"]
        return Timing(median, least, most, report["calls"])


def build_programs(folder: Path) -> Programs:
    """Build them, optimised; that for ONNX only where `ONNXRUNTIME_ROOT` is set.

    Args:
        folder: For all that is made.

    Raises:
        GanforgeError: There is no CMake or no compiler, or it fails.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise GanforgeError("cmake is not found", "install cmake and a C++ compiler")
    names = {".pt": "ganforge_time", ".pt2": "ganforge_time"}
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DTORCH_ROOT={Path(torch.__file__).parent}"]
    if root := os.environ.get(ONNXRUNTIME_ROOT):
        names[".onnx"] = "ganforge_time_onnx"
        options.append(f"-DONNXRUNTIME_ROOT={root}")
    said = run_program(cmake, "-S", SOURCES, "-B", folder, *options)
    run_program(cmake, "--build", folder, "--parallel", 2, "--target", *sorted(set(names.values())))
    compiler = re.search(r"The CXX compiler identification is (.+)", said)
    return Programs(compiler[1] if compiler else "unknown", {suffix: folder / name for suffix, name in names.items()})


def join(timings: Sequence[Timing]) -> Timing:
    """Several timings of one thing: the median of their medians, and the extremes of all."""
    return Timing(
        median=statistics.median(each.median for each in timings),
        least=min(each.least for each in timings),
        most=max(each.most for each in timings),
        samples=sum(each.samples for each in timings),
    )


def run_program(program: str | Path, *arguments: object) -> str:
    """What a program says on standard output.

    Raises:
        GanforgeError: It cannot be started, or fails; the message is its first line about an error.
    """
    command = [str(program), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise GanforgeError(f"{Path(program).name} cannot be started: {error.strerror}") from error
    if done.returncode:
        lines = [" ".join(line.split()) for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        first = last = next((index for index, line in enumerate(lines) if "error" in line.lower()), 0)
        while lines[last : last + 1] and lines[last].endswith(":"):  # CMake says first where it is
            last += 1
        wrong = " ".join(lines[first : last + 1]).removeprefix("error: ") or f"exit code {done.returncode}"
        raise GanforgeError(f"{Path(program).name} fails: {wrong}")
    return done.stdout
