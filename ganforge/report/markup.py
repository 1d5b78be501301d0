"""HTML of sections, tables and figures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ganforge.core.text import escape_html as escape


def section(title: str, body: str) -> str:
    """Return a section with a heading; empty without a body."""
    key = "".join(each if each.isalnum() else "-" for each in title.lower())
    return (
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{body}</section>'
        * bool(body)
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """Return a table whose first column holds row headings; empty without rows."""
    if not rows:
        return ""
    top = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(each)}</td>" for each in rest)}</tr>'
        for first, *rest in rows
    )
    return wide(
        f"<table><caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>",
        caption,
    )


def wide(content: str, name: str) -> str:
    """Return a named box in which content that is wider than the page is scrolled, by keys too."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(name)}">{content}</div>'


def listing(lines: str) -> str:
    """Return a block of commands that keys can scroll; no flag is broken after its dashes."""
    whole = re.sub(r"(?<= )--[\w-]+", r"<span>\g<0></span>", escape(lines))
    return f'<pre tabindex="0"><code>{whole}</code></pre>'


def moment(text: object) -> str:
    """Format a time of ISO 8601 as 2026-01-31 12:00:00 UTC."""
    return str(text).replace("T", " ").replace("+00:00", " UTC")
