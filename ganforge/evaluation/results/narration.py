"""How an evaluation tells a user what it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Given a title, what shows how much is done, and of how much."""

Say = Callable[[str], None]
"""Prints a line for the user."""


def no_progress(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A `Progress` that shows nothing."""
    return nullcontext(lambda done, total: None)
