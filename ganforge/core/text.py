"""Escaping of untrusted text for terminal, logs and HTML."""

from __future__ import annotations

import html
import re

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
"""C0 and C1 controls, separators of lines, bidirectional formatting, invisible characters, lone surrogates."""


def escape_controls(text: str, keep: str = "") -> str:
    r"""Replace control characters except those in `keep` by escapes such as ``\x1b``."""
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], text)


def escape_html(text: object) -> str:
    """Escape untrusted text for HTML, attributes included."""
    return html.escape(escape_controls(str(text), keep="\n\t"), quote=True)
