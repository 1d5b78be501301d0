"""Terminal output: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from ganforge.core.ranks import process_rank
from ganforge.core.text import escape_controls


class _Console(Console):
    rephrase: Callable[[str], str] = staticmethod(str)
    """Changes the words of messages, where flags do not exist."""

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # EIO of a closed terminal; the base class handles broken pipes
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Discard further output, and continue."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


_IN_NOTEBOOK = "ipykernel" in sys.modules

console = _Console(
    stderr=not _IN_NOTEBOOK, highlight=False, force_jupyter=False, force_terminal=False if _IN_NOTEBOOK else None
)
"""Console on standard error; in a notebook, which marks that as errors, plain lines on standard output."""


def say(text: str) -> None:
    """Print lines to standard error; control characters are escaped."""
    console.print(escape_controls(console.rephrase(text), keep="\n"), markup=False, soft_wrap=True)


def print_result(text: str) -> None:
    """Print a result to standard output from rank 0; control characters are escaped."""
    if process_rank():
        return
    sys.stdout.write(escape_controls(text, keep="\n\t") + "\n")
    sys.stdout.flush()


HEARTBEAT_SECONDS = 5.0
"""Longest silence of a running command, where the output is no terminal."""


@contextmanager
def heartbeat(describe: Callable[[], str]) -> Iterator[None]:
    """Print `describe()` regularly while the block runs, unless it is empty; after 100 s at growing intervals.

    An interval is a twentieth of the time so far, at least `HEARTBEAT_SECONDS` and at most a minute.
    """
    ended, start = threading.Event(), time.monotonic()

    def beat() -> None:
        while not ended.wait(max(HEARTBEAT_SECONDS, min((time.monotonic() - start) / 20, 60))):
            if text := describe():
                say(text)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar while the block runs; lines at intervals where the output is no terminal.

    Yields:
        Function that updates the bar with the numbers done and in total.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not console.is_terminal:
        count = ""

        def note(done: int, total: int) -> None:
            nonlocal count
            count = f" {done} of {total}"

        with heartbeat(lambda: f"{title}{count} ..."):
            yield note
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape_controls(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
