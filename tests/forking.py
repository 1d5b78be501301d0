"""A process that has imported everything, and forks a child for each command: quick, and open to a preloaded library.

A script calls `preload` first, which starts it again with ``file_operations.c`` compiled and preloaded.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from shutil import which
from types import SimpleNamespace
from typing import Any

SOURCE = Path(__file__).with_name("file_operations.c")

NONE, KILL, TEAR, FULL, BROKEN_ONCE, BROKEN = range(6)
"""Faults, as the library numbers them."""


def explain_unavailable() -> str:
    """Return why file operations cannot be intercepted here, or nothing."""
    if not sys.platform.startswith("linux"):
        return "file operations are intercepted on Linux only"
    return "" if which("cc") else "no C compiler `cc`"


def preload() -> None:
    """Start this script again with the library preloaded, unless it is; exits with its code."""
    if "FILE_OPERATIONS" in os.environ:
        return
    if reason := explain_unavailable():
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory(prefix="ganforge-preload-") as folder:
        library = Path(folder) / "file_operations.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        added = {"LD_PRELOAD": str(library), "FILE_OPERATIONS": str(library), "OMP_NUM_THREADS": "1"}
        sys.exit(subprocess.run([sys.executable, *sys.argv], env={**os.environ, **added}, check=False).returncode)


def open_library() -> ctypes.CDLL:
    """Return the preloaded library."""
    library = ctypes.CDLL(os.environ["FILE_OPERATIONS"])
    library.fault_operations.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
    library.count_operations.restype = ctypes.c_long
    return library


def import_everything() -> None:
    """Import what commands import late, so that children need not."""
    import importlib
    import pkgutil

    import ganforge
    import ganforge.cli

    skipped = ("__main__", "testing", "scaffold", "onnx", "tensorboard", "inductor")
    for each in pkgutil.walk_packages(ganforge.__path__, "ganforge."):
        if not any(part in each.name for part in skipped):
            importlib.import_module(each.name)
    import torchvision  # noqa: F401


@dataclass(frozen=True)
class Done:
    """Result of a child process.

    Attributes:
        code: Exit code; negative for a signal.
        out: Standard output.
        err: Standard error.
        seconds: Wall time.
        cpu: CPU time, of its own children too.
        timed_out: True if it was killed since its time was up.
    """

    code: int
    out: str
    err: str
    seconds: float
    cpu: float
    timed_out: bool

    def describe_failure(self) -> str:
        """Return what is wrong with this end of a command, or nothing: exit codes 0, 2 and 3 with at most one line."""
        last = (self.err.strip().splitlines() or ["no message"])[-1][:300]
        if self.timed_out:
            return f"no end after {self.seconds:.0f} s"
        if "Traceback (most recent call last)" in self.err:
            return f"traceback: {last}"
        if self.code not in (0, 2, 3):
            return f"exit code {self.code}: {last}"
        lines = [each for each in self.err.split("\n") if each.startswith("error: ")]
        if len(lines) != (self.code != 0):
            return f"exit code {self.code} with {len(lines)} lines of error: {last}"
        return ""


def run_child(action: Callable[[], Any], folder: Path, seconds: float, memory: int | None = None) -> Done:
    """Run a function in a forked child, in a folder of its own.

    Args:
        action: Its integer result is the exit code.
        folder: Current folder; output goes to files in it.
        seconds: After which the child is killed with its process group.
        memory: Bytes of address space beyond what this process has.
    """
    streams = folder / ".out", folder / ".err"
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            os.chdir(folder)
            for number, stream in enumerate(streams, 1):
                target = os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(target, number)
                os.close(target)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))  # not pytest's
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            if memory is not None:
                size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (size + memory, size + memory))
            code = action() or 0
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)
    timed_out, wait = False, 0.001
    while not (ended := os.wait4(child, os.WNOHANG))[0]:
        if time.monotonic() - began > seconds:
            timed_out = True
            os.killpg(child, signal.SIGKILL)
            ended = os.wait4(child, 0)
            break
        time.sleep(wait)
        wait = min(2 * wait, 0.02)
    taken = time.monotonic() - began
    out, err = (each.read_bytes().decode("utf-8", "replace") for each in streams)
    for each in streams:
        each.unlink()
    return Done(os.waitstatus_to_exitcode(ended[1]), out, err, taken, ended[2].ru_utime + ended[2].ru_stime, timed_out)


def call_main(arguments: Iterable[object]) -> int:
    """Run the command line in this process; the exit code."""
    from ganforge.cli import main

    try:
        main([str(each) for each in arguments])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def run_forked(command: list[str], **options: object) -> SimpleNamespace:
    """Replace `subprocess.run` of a new interpreter with a script by a fork, which has torch imported already."""
    script, arguments = command[command.index("-c") + 1], command[command.index("-c") + 2 :]

    def act() -> None:
        if "FILE_OPERATIONS" in os.environ:
            open_library().fault_operations(b"", -1, -1, NONE)
        warnings.simplefilter("ignore")
        sys.argv = ["-c", *arguments]
        exec(script, {"__name__": "__main__"})

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 3.12 about forks of processes with threads
        done = run_child(act, Path(folder), 300)
    return SimpleNamespace(returncode=done.code, stdout=done.out, stderr=done.err)


def map_forked(function: Callable[[Any], Any], items: list[Any], jobs: int) -> Iterator[Any]:
    """Apply a function to items in forked processes; results in the order in which they come."""
    if jobs == 1:
        yield from map(function, items)
        return
    with get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(function, items)
