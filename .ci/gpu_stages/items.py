"""Items of a stage: each runs in a fork of a process that has imported torch, with a time limit and a log."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

import ganforge.cli

T = TypeVar("T")
TIMED_OUT = 124


@dataclass(frozen=True)
class Context:
    """Device, sizes and folder of the output; `work` is an item's temporary folder."""

    device: str
    rehearse: bool
    out: Path
    work: Path = Path()

    def pick(self, real: T, small: T) -> T:
        """Return the value for a real run, or the small one for a rehearsal."""
        return small if self.rehearse else real


@dataclass(frozen=True)
class Item:
    """One check: its name, time limit in seconds, and function, which fails by an exception."""

    name: str
    seconds: float
    function: Callable[[Context], None]


def run_stage(stage: str, items: Sequence[Item], context: Context, only: str) -> list[str]:
    """Run the items of a stage in turn, and return the names of those that failed."""
    failed = []
    log, summary = context.out / f"{stage}.log", context.out / "summary.tsv"
    log.unlink(missing_ok=True)
    for item in items:
        if only not in item.name:
            continue
        work = Path(tempfile.mkdtemp(prefix="ganforge-gpu-"))
        with log.open("a") as file:
            file.write(f"\n=== {item.name}\n")
        start = time.monotonic()
        code = wait_for(fork(partial(item.function, replace(context, work=work)), log), item.seconds)
        seconds = time.monotonic() - start
        shutil.rmtree(work, ignore_errors=True)
        with summary.open("a") as file:
            file.write(f"{stage}\t{item.name}\t{code}\t{seconds:.1f}\n")
        print(f"{stage:10} {item.name:28} {code:4} {seconds:7.1f} s", flush=True)
        if code:
            failed.append(f"{stage}/{item.name}")
            print("\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-12:]), flush=True)
    return failed


def fork(function: Callable[[], object], log: Path | None = None) -> int:
    """Run a function in a fork of this process, as the leader of its own group; return its id.

    This process must not have used the GPU. With `log`, the output goes to its end.
    """
    sys.stdout.flush(), sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        if log is not None:
            os.setsid()
            target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(target, 1), os.dup2(target, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        function()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def wait_for(child: int, seconds: float) -> int:
    """Return the exit code of a child, negative for a signal; after `seconds`, kill its group and return 124."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return TIMED_OUT


def run_command(*arguments: object) -> int:
    """Run a command of ganforge in this process, and return its exit code."""
    print("+ ganforge", *arguments, flush=True)
    try:
        ganforge.cli.main([str(each) for each in arguments])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def require(condition: object, message: str) -> None:
    """Fail with a message unless a condition holds."""
    if not condition:
        raise SystemExit(f"FAILED: {message}")


def succeed(*arguments: object) -> None:
    """Run a command of ganforge in this process; fail if it does."""
    code = run_command(*arguments)
    require(code == 0, f"exit code {code}")


def device_of(context: Context) -> torch.device:
    """Return the device, with a stand-in for CUDA graphs if it is a CPU."""
    if context.device == "cpu":
        from stand_in import replace_graphs

        replace_graphs()
    return torch.device(context.device)
