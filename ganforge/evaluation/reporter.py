"""Progress bars and messages of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from ganforge.core.console import progress_bar, say

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]


def _no_progress(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True)
class Reporter:
    """Progress and messages for the user; silent by default.

    `progress` maps a title to a context manager, which yields a function of the number done and the total.
    """

    progress: Progress = _no_progress
    log: Callable[[str], None] = lambda text: None


SILENT = Reporter()
TERMINAL = Reporter(progress_bar, say)
