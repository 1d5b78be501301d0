"""Files that are whole or not there: written beside their place, synced, and moved into it."""

from __future__ import annotations

import os
from pathlib import Path

from ganforge.errors import GanforgeError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one piece; a reader sees the old one or the new one, never a part.

    Raises:
        GanforgeError: The folder cannot be written, or the disk is full; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise GanforgeError(
            f"cannot write {path}: {error.strerror or error}", "check space and rights there"
        ) from error
