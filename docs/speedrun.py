"""Measure an entry of the speedrun: ``python docs/speedrun.py TRACK [--data FOLDER] -- COMMAND ...``.

The command runs on one thread in an empty folder. It must leave a folder ``samples`` of images, or a run of ganforge in
``runs``. A line of the result goes to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

STDERR = 2


@dataclass(frozen=True)
class Track:
    """Task: flags of ``ganforge eval``, a limit of CPU-seconds, and the least values of metrics."""

    flags: tuple[str, ...]
    seconds: float | None = None
    goals: tuple[tuple[str, float], ...] = ()


CLASSIFIER = ("--fid", "--prc", "--extractor", "classifier", "--samples", "5000", "--references", "5000")
TRACKS = {
    "grid-25": Track(
        ("--modes", "--samples", "20000"),
        goals=(("num_covered", 25), ("high_quality", 0.95)),
    ),
    "digits": Track(CLASSIFIER, 720),
    "cifar-10": Track(CLASSIFIER, 720),
    "faces": Track(("--fid", "--prc", "--samples", "5000", "--references", "5000"), 720),
}


def measure(track: Track, command: list[str], data: str | None, more: list[str]) -> dict[str, Any]:
    """Run a command, evaluate what it left, and return CPU-seconds and values; exit if it fails or takes too long."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory() as folder:
        before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=os.environ | threads, stdout=STDERR, check=False)
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begun
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if done.returncode:
            sys.exit(f"the command failed with exit code {done.returncode}")
        if track.seconds is not None and seconds > track.seconds:
            sys.exit(f"the command took {seconds:.0f} CPU-seconds; the limit is {track.seconds:.0f}")
        subject = next(
            (each for each in (Path(folder, "samples"), *Path(folder).glob("runs/*")) if each.exists()), None
        )
        if subject is None:
            sys.exit("the command left neither samples nor runs")
        flags = [*track.flags, *(["--data", data] if data else []), *more, "--json"]
        evaluate = [sys.executable, "-m", "ganforge", "eval", str(subject), *flags]
        rows = json.loads(subprocess.run(evaluate, check=True, stdout=subprocess.PIPE, cwd=folder).stdout)
    values = {row["metric"]: row["value"] for row in rows}
    for row in rows:  # the shares of modes are details of their number
        found = row.get("details", {}).get("coverage", {})
        values |= {name: found[name] for name in ("num_covered", "high_quality") if name in found}
    return {"command": " ".join(command), "cpu_seconds": round(seconds, 1), "seconds": round(wall, 1), **values}


def main() -> None:
    """Measure the entry that the command line names."""
    given, command = sys.argv[1:], []
    if "--" in given:
        given, command = given[: given.index("--")], given[given.index("--") + 1 :]
    parser = argparse.ArgumentParser(description="Measure an entry of the speedrun.")
    parser.add_argument("track", choices=sorted(TRACKS))
    parser.add_argument("--data", type=lambda text: str(Path(text).resolve()), help="held-out real images")
    parser.add_argument("--eval", default="", help="more flags of ganforge eval, such as --extractor FILE")
    options = parser.parse_args(given)
    if not command:
        parser.error("a command must follow --")
    track = TRACKS[options.track]
    result = {"track": options.track, **measure(track, command, options.data, shlex.split(options.eval))}
    for name, bound in track.goals:
        if result[name] < bound:
            sys.exit(f"{name} is {result[name]}, the goal is {bound}: {json.dumps(result)}")
    machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    print(json.dumps(result | machine))


if __name__ == "__main__":
    main()
