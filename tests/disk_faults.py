"""Breaks every file operation of a run in turn, and proves that nothing is lost: ``python tests/disk_faults.py``.

Operations that change what lies under ``runs/`` are counted in all threads and in native code: open for writing, write,
truncate, fsync, rename, unlink, mkdir, rmdir, chmod and touch. For each of them and each fault, a small run is carried
out until that operation, which is broken; then the command is given again without a fault, and all files are compared
with those of an undisturbed run.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from forking import (
    BROKEN,
    BROKEN_ONCE,
    FULL,
    KILL,
    NONE,
    TEAR,
    call_main,
    import_everything,
    map_forked,
    open_library,
    preload,
    run_child,
    run_forked,
)

FAULTS = {"killed": KILL, "torn": TEAR, "ENOSPC": FULL, "EIO": BROKEN_ONCE, "EIO for good": BROKEN}
"""The process is killed before the operation; killed in the middle of a write; the disk is full from then on; the
operation fails; it and all after it fail. A full disk writes half of a buffer, and still removes files."""

TRAIN = (
    "train --arch dcgan --data ../photos --resolution 16 --batch 8 --device cpu --engine eager --precision float32 "
    "--set training.layout=contiguous --set training.threads=1 --set training.tick_images=16 "
    "--set training.checkpoint_images=32 --set training.samples=4 --set training.eval_samples=32 "
    "--eval-every 48 --metrics fd --set generator.width=4 --set discriminator.width=4"
)
"""A run with checkpoints, grids, scores, a best generator and an animation."""

COMMANDS = {
    "train": f"{TRAIN} --images 96",
    "resume": "train --resume --images 96",
    "eval": "eval --modes --samples 64 --device cpu",
    "report": "report",
    "sample": "sample --count 4 --to runs/drawn --device cpu",
    "explore": "explore walk --from-seeds 1,2 --steps 2 --device cpu",
    "export": "export --torchscript",
}
"""Commands whose operations are broken. `resume` starts from a run of 48 images, those below it from a finished run."""

DECORATION = ("training.gif", "samples/")
"""Files that a run may lack if it reported so and ended with exit code 0."""

SECONDS = 120
"""Time limit of a command."""


@dataclass(frozen=True)
class Case:
    """One operation to break."""

    name: str
    fault: str
    number: int


def act(command: str, number: int = -1, fault: int = NONE, trace: Path | None = None) -> Callable[[], int]:
    """Return what a child does: a command, of which an operation is broken."""

    def action() -> int:
        descriptor = -1 if trace is None else os.open(trace, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        folder = str(Path.cwd() / "runs").encode()
        open_library().fault_operations(folder, descriptor, number, fault)
        return call_main(command.split())

    return action


class Laboratory:
    """Undisturbed runs, and the operations of their commands.

    Args:
        root: A folder for everything.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self, names: list[str]) -> dict[str, list[str]]:
        """Make the undisturbed runs; the operations of each command."""
        from killer import draw_photos

        draw_photos(self.root / "photos")
        (self.root / "none").mkdir()
        self._run("whole-train", "none", COMMANDS["train"])
        traces = {"train": self._run("whole-train", "none", COMMANDS["train"])}  # the cache is filled by now
        if "resume" in names:
            self._run("half", "none", f"{TRAIN} --images 48")
        for name in {*names} - {"train"}:
            traces[name] = self._run(f"whole-{name}", self.before(name), COMMANDS[name])
        return traces

    def before(self, name: str) -> str:
        """Return the folder that a command starts from."""
        return {"train": "none", "resume": "half"}.get(name, "whole-train")

    def _run(self, place: str, before: str, command: str) -> list[str]:
        folder, trace = self.root / place, self.root / f"{place}.txt"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.root / before, folder)
        done = run_child(act(command, trace=trace), folder, SECONDS)
        if done.code:
            sys.exit(f"error: '{command}' fails undisturbed: {done.err}")
        return trace.read_text().splitlines()

    def check(self, case: Case) -> tuple[Case, str, str, list[str]]:
        """Break one operation, then run the command again without a fault.

        Returns:
            The case, the operation, how the broken command ended, and what is wrong.
        """
        from killer import Place

        command, whole = COMMANDS[case.name], self.root / f"whole-{case.name}"
        folder = self.root / f"{case.name}-{case.fault.replace(' ', '-')}-{case.number:04d}"
        shutil.copytree(self.root / self.before(case.name), folder)
        trace = self.root / f"{folder.name}.txt"
        broken = run_child(act(command, case.number, FAULTS[case.fault], trace), folder, SECONDS)
        # Threads may do their operations in another order than undisturbed.
        operation = next(
            (each for each in trace.read_text().splitlines() if each.startswith(f"{case.number} ")), "none"
        )
        trace.unlink()
        killed = broken.code == -9 and case.fault in ("killed", "torn") and not broken.timed_out
        wrong = [] if killed else list(filter(None, [broken.describe_failure()]))
        if case.name == "train" and Place(folder).folder():
            command = COMMANDS["resume"]
        mended = run_child(act(command), folder, SECONDS)
        spent = mended.code == 2 and "has spent its budget" in mended.err
        if not spent and (mended.code or mended.describe_failure()):
            wrong.append(f"afterwards: {mended.describe_failure() or mended.err.strip().splitlines()[-1]}")
        if spent:  # nothing was written, so no draft was removed; the next process that writes must remove it
            run_child(lambda: sweep_all(folder / "runs"), folder, SECONDS)
        lost = compare(folder, whole)
        if broken.code == 0:  # done without a decoration
            lost = [each for each in lost if not each.startswith(DECORATION)]
        wrong += lost
        if not wrong:
            shutil.rmtree(folder)
        else:
            (folder / "first.txt").write_text(broken.err)
            (folder / "second.txt").write_text(mended.err)
        return case, operation, "killed" if killed else f"exit code {broken.code}", wrong


def sweep_all(runs: Path) -> None:
    """Remove drafts as a process does that writes into each of the folders."""
    from ganforge.core.atomic_files import remove_stale_drafts

    for each in [runs, *(path for path in sorted(runs.rglob("*")) if path.is_dir())]:
        remove_stale_drafts(each)


DATE = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*( UTC)?")


def compare(folder: Path, whole: Path) -> list[str]:
    """Return in what the files of a run differ from those of another, and what is left over."""
    from killer import Place
    from killer import compare as compare_runs

    ours, theirs = Place(folder), Place(whole)
    runs = ours.folder(), theirs.folder()
    found = compare_runs(ours, theirs)
    dated = [name for name in ("evaluations.jsonl", "report.html") if f"{name} differs" in found]
    return [each for each in found if each not in {f"{name} differs" for name in dated if are_alike(*runs, name)}]


def are_alike(ours: Path, theirs: Path, name: str) -> bool:
    """True if files have equal lines apart from dates; a repeated command may add a line again."""
    return len({frozenset(DATE.sub(b"", (run / name).read_bytes()).split(b"\n")) for run in (ours, theirs)}) == 1


def main() -> int:
    """Break operations, and print what came of it."""
    parser = argparse.ArgumentParser(description="Breaks every file operation of a run in turn.")
    parser.add_argument("--stride", type=int, default=1, help="break every so many-th operation")
    parser.add_argument("--offset", type=int, default=0, help="first operation")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), help="commands")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), help="faults")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    arguments = parser.parse_args()
    preload()
    import_everything()
    import ganforge.export.subprocess_runner

    ganforge.export.subprocess_runner.subprocess = SimpleNamespace(run=run_forked)
    root = Path(tempfile.mkdtemp(prefix="ganforge-disk-"))
    os.environ["GANFORGE_CACHE"] = str(root / "cache")
    laboratory = Laboratory(root)
    operations = laboratory.prepare(arguments.only)
    cases = [
        Case(name, fault, number)
        for name in arguments.only
        for number in range(arguments.offset, len(operations[name]), arguments.stride)
        for fault in arguments.faults
        if fault != "torn" or operations[name][number].split()[1] == "write"
    ]
    ends: dict[tuple[str, str], Counter[str]] = {}
    found: dict[str, list[str]] = {}
    began = time.monotonic()
    for case, operation, end, wrong in map_forked(laboratory.check, cases, arguments.jobs):
        counts = ends.setdefault((case.name, case.fault), Counter())
        counts[end] += 1
        counts["wrong"] += bool(wrong)
        for each in wrong:
            cause = re.sub(r"\.[0-9a-f]{8}\.tmp", ".X.tmp", f"{case.name}, {case.fault}: {each}")
            found.setdefault(cause, []).append(operation)
            print(f"{cause} | {operation}", file=sys.stderr, flush=True)
    total = sum(len(operations[name]) for name in arguments.only)
    print(f"{total} operations, {len(cases)} cases, {time.monotonic() - began:.0f} s\n")
    print("| command | operations | fault | cases | killed | one line | done | wrong |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for (name, fault), counts in sorted(ends.items(), key=lambda each: list(COMMANDS).index(each[0][0])):
        row = [
            sum(counts.values()) - counts["wrong"],
            counts["killed"],
            counts["exit code 2"],
            counts["exit code 0"],
            counts["wrong"],
        ]
        print(f"| {name} | {len(operations[name])} | {fault} | {' | '.join(map(str, row))} |")
    for each, places in found.items():
        print(f"\n{each}\n  {len(places)} times, at: " + "; ".join(places[:4]))
    if found:
        print(f"\nsee {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
