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

POLL_INTERVAL = 0.1
"""Seconds between two polls of the workers."""

GRACE = 5.0
"""Seconds that workers get to exit after one of them failed, or after a second signal."""

KILL_DELAY = 30.0
"""Seconds between SIGTERM and SIGKILL for workers that still run after a failure."""


def launch(count: int, device: torch.device, arguments: Sequence[str], then: str) -> int:
    """Run a command line in several worker processes, one GPU each, and wait for them.

    Forwards termination signals to all workers and reports stopped workers. If a worker fails, the others are
    terminated. Workers exit if this process dies; see `ganforge.core.distributed.join_workers`.

    Args:
        count: Number of workers.
        device: A GPU for each worker, or the CPU for all.
        arguments: Command line of each worker.
        then: Advice in the message about a killed worker.

    Returns:
        The exit code.

    Raises:
        OptionError: There are fewer GPUs than workers.
    """
    import torch

    from ganforge.core.distributed import host_workers
    from ganforge.training.signals import restore_handlers, set_handler

    if device.type != "cpu" and count > torch.accelerator.device_count():
        raise OptionError(
            f"--gpus {count}: torch finds {torch.accelerator.device_count()} GPUs", "lower --gpus to that number"
        )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    received: list[int] = []
    before = set_handler(lambda number, frame: received.append(number))
    workers = WorkerProcesses(count)
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
    report(f"error: process {rank} of {count} was killed by {signal.Signals(-code).name} - {then}")
    return 1


class WorkerProcesses:
    """Worker processes of a launcher.

    Attributes:
        failed: Rank and exit code of the first worker that failed (negative: the signal that killed it), or None.
    """

    def __init__(self, count: int) -> None:
        self.failed: tuple[int, int] | None = None
        self._count = count
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, command: list[str], environments: Sequence[dict[str, str]]) -> None:
        """Start the workers in own sessions, so that only the launcher gets signals from the terminal."""
        for rank, environment in enumerate(environments):
            self._running[rank] = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.PIPE, start_new_session=True
            )

    def wait(self, received: list[int]) -> None:
        """Wait until all workers have exited.

        Args:
            received: Signals to forward; the caller's handler appends to it. The second one sets a time limit.
        """
        forwarded, term_at, kill_at = 0, float("inf"), float("inf")
        while self._running:
            for rank in list(self._running):
                self._poll(rank)
            now = time.monotonic()
            for number in received[forwarded:]:
                forwarded += 1
                self._send(number)
                self._send(signal.SIGCONT)  # a stopped worker must save with the others
                if forwarded == 2:
                    kill_at = now + GRACE
            if self.failed is not None and not received and term_at == float("inf"):
                term_at, kill_at = now + GRACE, now + GRACE + KILL_DELAY
            if now >= term_at:
                self._send(signal.SIGTERM)
                term_at = kill_at
            if now >= kill_at:
                self.kill()
            time.sleep(POLL_INTERVAL)

    def kill(self) -> None:
        """Kill the workers that still run, and their child processes."""
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            close(process)
        self._running.clear()

    def _poll(self, rank: int) -> None:
        """Update the state of a worker that exited, stopped or continued."""
        process = self._running[rank]
        found, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
        who = f"process {rank} of {self._count}"
        if not found:
            return
        if os.WIFSTOPPED(status):
            name = signal.Signals(os.WSTOPSIG(status)).name
            report(
                f"warning: {who} was stopped by {name}; the others wait - continue it with: kill -CONT {process.pid}"
            )
        elif os.WIFCONTINUED(status):
            report(f"{who} was continued")
        else:
            process.returncode = os.waitstatus_to_exitcode(status)
            close(self._running.pop(rank))
            if process.returncode and self.failed is None:
                self.failed = rank, process.returncode

    def _send(self, number: int) -> None:
        for process in self._running.values():
            os.kill(process.pid, number)


def close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a worker that exited."""
    assert process.stdin is not None
    process.stdin.close()


def report(line: str) -> None:
    """Print a line to standard error, if it is still open."""
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
