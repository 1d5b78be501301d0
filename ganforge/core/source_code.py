"""Digest of the source code of a class."""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path


def code_digest(kind: type) -> str:
    """Return the SHA-256 of the file that defines a class; empty if there is none, as in an interactive session."""
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return ""
