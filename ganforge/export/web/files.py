"""Files of a web page that draws with a network, which runs on the visitor's device or in the serving process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

from ganforge.export.folder import list_files

INDEX = "index.html"
"""Main file of a page."""

_PAGE = Path(__file__).parent / "page"
"""Folder of the files that every page shares."""


def page_files(parts: str, *, runtime: str, scripts: Sequence[str] = (), connect: str = "'none'") -> dict[str, bytes]:
    """Return the content of a page's files by relative path, without its model.

    Args:
        parts: Script that computes the parts of the network: ``on_device.js`` or ``live.js``; named ``parts.js``.
        runtime: HTML that names the software which runs the network.
        scripts: Paths of further scripts.
        connect: Sources that scripts may fetch, in a content security policy.
    """
    files = {name: (_PAGE / name).read_bytes() for name in list_files(_PAGE)}
    lines = "\n".join(f'<script src="{name}" defer></script>' for name in (*scripts, "parts.js"))
    index = Template(files[INDEX].decode()).substitute(connect=connect, runtime=runtime, scripts=lines)
    return files | {INDEX: index.encode(), "parts.js": _PAGE.with_name(parts).read_bytes()}


def assign(name: str, value: Any) -> bytes:
    """Return a script that sets a property of the page's ``ganforge``."""
    return f'"use strict";\nganforge.{name} = {json.dumps(value)};\n'.encode()
