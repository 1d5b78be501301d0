"""Errors that the command line prints as one line."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class GanforgeError(Exception):
    """An error of the user, with a hint.

    The command line prints ``error: message - hint`` without a traceback, and exits with the code.

    Args:
        message: What is wrong and where, as one line.
        hint: What to do, as one line; may be empty.

    Attributes:
        code: Exit code of the command line.
    """

    code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class OptionError(GanforgeError):
    """Invalid option, name or value."""


class DataError(GanforgeError):
    """Invalid or unreadable data."""


class PluginError(GanforgeError):
    """Broken plugin, or one that violates the contract."""


class CheckpointError(GanforgeError):
    """Invalid weights, checkpoint or run."""


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """Return a hint for an unknown name: the closest valid names, else all of them.

    Args:
        wrong: Unknown name.
        valid: Valid names.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(wrong, names, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    return f"choose one of: {', '.join(names)}" if names else "none is available"


class DivergenceError(GanforgeError):
    """Training diverged: losses or gradients are non-finite."""

    code = 3


def explain(error: BaseException) -> str:
    """Describe an exception of a plugin in one line, with file and line."""
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r})"
    if isinstance(error, GanforgeError):
        return str(error)
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({error.filename}, line {error.lineno})"
    where = ""
    if not isinstance(error, ImportError):
        frames = list(traceback.walk_tb(error.__traceback__))
        own = [(frame, line) for frame, line in frames if not str(frame.f_globals.get("__name__")).startswith("torch.")]
        for frame, line in (own or frames)[-1:]:
            where = f" ({frame.f_code.co_filename}, line {line})"
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"
