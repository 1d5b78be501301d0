"""Names and reasons as they may stand in one line of a message."""

from __future__ import annotations


def printable(name: str) -> str:
    """A name in which escapes stand for what is no printable text, so that names that differ still do."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in name)


def short(text: str, most: int = 400) -> str:
    """A text without its middle if it is longer than `most` characters."""
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def reason_of(error: BaseException) -> str:
    """What an error says, as one line and not too long; its type if it says nothing."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return short(printable(" ".join(str(error).split()))) or type(error).__name__
