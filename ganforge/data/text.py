"""Formatting of untrusted names and errors for messages of one line."""

from __future__ import annotations


def printable(name: str) -> str:
    """Escape non-printable characters, injectively."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def short(text: str, limit: int = 400) -> str:
    """Truncate the middle of a text that is longer than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit // 2]} ... {text[-limit // 2 :]}"


def reason_of(error: BaseException) -> str:
    """Return an error's message on one line, or its type if it has none."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return short(printable(" ".join(str(error).split()))) or type(error).__name__
