"""C++ programs that time exported files, built against the libtorch of this Python."""

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
"""Environment variable with a folder of ONNX Runtime's ``include/`` and ``lib/``; its Python package has no headers."""

LEAST_SECONDS = 0.001  # minimum of the programs' ``--seconds``


@dataclass(frozen=True)
class Programs:
    """Built programs: the compiler's name and version, and a program by file extension."""

    compiler: str
    by_suffix: Mapping[str, Path]

    def time(self, path: Path, batch: int, seconds: float, threads: int) -> Timing:
        """Time calls of an exported file for about `seconds`; raise `GanforgeError` if the program fails."""
        given = ["--batch", batch, "--seconds", max(seconds, LEAST_SECONDS), "--threads", threads]
        report = json.loads(run_program(self.by_suffix[path.suffix], path, *given))
        least, median, most = report["seconds"]
        return Timing(median, least, most, report["calls"])


def build_programs(folder: Path) -> Programs:
    """Build the programs in a folder; that for ONNX only if `ONNXRUNTIME_ROOT` is set.

    Raises:
        GanforgeError: CMake or the compiler is not found, or fails.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise GanforgeError("cmake is not found", "install cmake and a C++ compiler")
    names = {".pt": "ganforge_time", ".pt2": "ganforge_time"}
    options = ["-DCMAKE_BUILD_TYPE=Release", f"-DTORCH_ROOT={Path(torch.__file__).parent}"]
    if root := os.environ.get(ONNXRUNTIME_ROOT):
        names[".onnx"] = "ganforge_time_onnx"
        options.append(f"-DONNXRUNTIME_ROOT={root}")
    output = run_program(cmake, "-S", SOURCES, "-B", folder, *options)
    run_program(cmake, "--build", folder, "--parallel", 2, "--target", *sorted(set(names.values())))
    compiler = re.search(r"The CXX compiler identification is (.+)", output)
    return Programs(compiler[1] if compiler else "unknown", {suffix: folder / name for suffix, name in names.items()})


def join(timings: Sequence[Timing]) -> Timing:
    """Combine timings: the median of medians, and the extremes of all."""
    return Timing(
        median=statistics.median(each.median for each in timings),
        least=min(each.least for each in timings),
        most=max(each.most for each in timings),
        samples=sum(each.samples for each in timings),
    )


def run_program(program: str | Path, *arguments: object) -> str:
    """Return the standard output of a program; raise `GanforgeError` with its first error line if it fails."""
    command = [str(program), *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise GanforgeError(f"{Path(program).name} cannot be started: {error.strerror}") from error
    if done.returncode:
        lines = [" ".join(line.split()) for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        first = last = next((index for index, line in enumerate(lines) if "error" in line.lower()), 0)
        while lines[last : last + 1] and lines[last].endswith(":"):  # CMake prints the location first
            last += 1
        wrong = " ".join(lines[first : last + 1]).removeprefix("error: ") or f"exit code {done.returncode}"
        raise GanforgeError(f"{Path(program).name} fails: {wrong}")
    return done.stdout
