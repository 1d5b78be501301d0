"""Terminal output: messages and progress on standard error, results on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from ganforge.core.ranks import process_rank
from ganforge.core.text import escape_controls


class _Console(Console):
    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # EIO of a terminal that was closed: a pipe whose reader is gone is caught by the base class
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Whoever read has left: be quiet, and let what is being done go on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


console = _Console(stderr=True, highlight=False)
"""Progress and messages; results go to standard output."""


def say(text: str) -> None:
    """Print lines for the person at the terminal; control characters in them are escaped."""
    console.print(escape_controls(text, keep="\n"), markup=False, soft_wrap=True)


def print_result(text: str) -> None:
    """Print a result to standard output, as `say` does; of several processes, the first does."""
    if process_rank():
        return
    sys.stdout.write(escape_controls(text, keep="\n\t") + "\n")
    sys.stdout.flush()


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that stands while the block runs; where there is no terminal, nothing is shown.

    Yields:
        What to call with how much is done, and of how much.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape_controls(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
