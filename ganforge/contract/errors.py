"""What a user did wrong, and what to do about it."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Iterable


class GanforgeError(Exception):
    """A mistake in what ganforge was given, told in words.

    The command line prints ``error: message - hint`` and leaves with its code; nobody sees a traceback.

    Args:
        message: What is wrong and where, as one line.
        hint: What to do, as one line; empty if there is nothing to add.

    Attributes:
        code: With which the command line leaves.
    """

    code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class OptionError(GanforgeError):
    """An option, a name or a value that is not to be had."""


class DataError(GanforgeError):
    """Data that cannot be read or do not fit."""


class PluginError(GanforgeError):
    """A plugin that is broken or does not keep the contract."""


class CheckpointError(GanforgeError):
    """A file of weights or a run that cannot be used."""


def nearest(wrong: str, valid: Iterable[str]) -> str:
    """The hint for a wrong name: the closest valid ones, else all of them.

    Args:
        wrong: What was given.
        valid: What would have been accepted.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(wrong, names, n=2, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(repr(name) for name in close)}?"
    return f"choose one of: {', '.join(names)}" if names else "there is none to choose from"


class DivergenceError(GanforgeError):
    """Training that came to nothing: losses or gradients are no longer finite."""

    code = 3


def explain(error: BaseException) -> str:
    """One line that names an exception of a plugin and, for a mistake in a file, the file and the line."""
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
