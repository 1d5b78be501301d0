"""Launcher of several worker processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ganforge.contract.errors import OptionError

if TYPE_CHECKING:
    import torch

GLANCE = 0.1
"""Seconds between two looks at the workers."""

GRACE = 5.0
"""Seconds in which workers may end by themselves after one of them failed, or after a second signal."""

LAST = 30.0
"""Seconds between SIGTERM and SIGKILL for workers that remain after a failure."""


def launch(count: int, device: torch.device, arguments: Sequence[str], then: str) -> int:
    """Run a command line in several worker processes, one GPU each, and wait for them.

    Termination signals are forwarded to all workers. If a worker fails, the others are terminated. A stopped worker is
    reported. Workers end by themselves if this process dies; see `ganforge.core.distributed.join_workers`.

    Args:
        count: Number of workers.
        device: A GPU for each worker, or the CPU for all.
        arguments: Command line of each worker.
        then: What to do if a worker is killed.

    Returns:
        The exit code.

    Raises:
        OptionError: There are fewer GPUs than workers.
    """
    import torch

    from ganforge.core.distributed import host_workers
    from ganforge.training.signals import restore_handlers, set_handler

    if device.type == "cuda" and count > torch.cuda.device_count():
        raise OptionError(f"--gpus {count}: torch finds {torch.cuda.device_count()} here", "ask for so many at most")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    received: list[int] = []
    before = set_handler(lambda number, frame: received.append(number))
    workers = Workers(count)
    try:
        with host_workers(count) as environments:
            workers.start([sys.executable, "-m", "ganforge", *arguments], environments)
            workers.wait(received)
    finally:
        workers.kill()
        restore_handlers(before)
    if received:
        return 128 + received[0]
    if workers.failed is None:
        return 0
    rank, code = workers.failed
    if code > 0:
        return code
    tell(f"error: process {rank} of {count} was ended by {signal.Signals(-code).name} - {then}")
    return 1


class Workers:
    """Worker processes of a launcher.

    Args:
        count: Number of workers.

    Attributes:
        failed: Rank and exit code of the first worker that failed (negative: the signal that killed it), or None.
    """

    def __init__(self, count: int) -> None:
        self.failed: tuple[int, int] | None = None
        self._count = count
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, command: list[str], environments: Sequence[dict[str, str]]) -> None:
        """Start the workers in sessions of their own, so that only the launcher gets the signals of a terminal."""
        for rank, environment in enumerate(environments):
            self._running[rank] = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.PIPE, start_new_session=True
            )

    def wait(self, received: list[int]) -> None:
        """Wait until all workers have ended.

        Args:
            received: Signals to forward; the caller's handler appends to it. The second one sets a time limit.
        """
        forwarded, term_at, kill_at = 0, float("inf"), float("inf")
        while self._running:
            for rank in list(self._running):
                self._look(rank)
            now = time.monotonic()
            for number in received[forwarded:]:
                forwarded += 1
                self._send(number)
                self._send(signal.SIGCONT)  # a stopped worker must save with the others
                if forwarded == 2:
                    kill_at = now + GRACE
            if self.failed is not None and not received and term_at == float("inf"):
                term_at, kill_at = now + GRACE, now + GRACE + LAST
            if now >= term_at:
                self._send(signal.SIGTERM)
                term_at = kill_at
            if now >= kill_at:
                self.kill()
            time.sleep(GLANCE)

    def kill(self) -> None:
        """Kill the workers that still run, with the processes that they started."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            close(process)
        self._running.clear()

    def _look(self, rank: int) -> None:
        """Note whether a worker has ended, stopped or continued since the last look."""
        process = self._running[rank]
        found, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        who = f"process {rank} of {self._count}"
        if not found:
            return
        if os.WIFSTOPPED(status):
            name = signal.Signals(os.WSTOPSIG(status)).name
            tell(f"warning: {who} was stopped by {name}; the others wait - continue it with: kill -CONT {process.pid}")
        elif os.WIFCONTINUED(status):
            tell(f"{who} was continued")
        else:
            process.returncode = os.waitstatus_to_exitcode(status)
            close(self._running.pop(rank))
            if process.returncode and self.failed is None:
                self.failed = rank, process.returncode

    def _send(self, number: int) -> None:
        for process in self._running.values():
            os.kill(process.pid, number)


def close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a worker that has ended."""
    assert process.stdin is not None
    process.stdin.close()


def tell(line: str) -> None:
    """Print a line to standard error, unless the terminal is gone."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
