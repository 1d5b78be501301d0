"""Names and reasons as they may stand in one line of a message."""

from __future__ import annotations


def printable(name: str) -> str:
    """A name in which escapes stand for what is no printable text, so that names that differ still do."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def reason_of(error: BaseException) -> str:
    """What an error says, as one line; its type if it says nothing."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return printable(" ".join(str(error).split())) or type(error).__name__
