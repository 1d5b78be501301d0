"""Text from outside, made fit to be shown."""

from __future__ import annotations

import html
import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls, line and paragraph separators, bidirectional formatting, lone surrogates."""


def escape_controls(text: str, keep: str = "") -> str:
    r"""Replace control characters by escapes such as ``\x1b``; all other text stays as it is.

    Args:
        text: From anybody: a file name, a class name, the message of a plugin.
        keep: Control characters that the place allows, such as a line feed.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def escape_html(text: object) -> str:
    """A text as it may stand in HTML, also within quotes, whoever wrote it."""
    return html.escape(escape_controls(str(text), keep="\n\t"), quote=True)
