"""Files that are whole or not there: written beside their place, synced, and moved into it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ganforge.errors import GanforgeError


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A file beside `path` to be written; it takes the place of `path` when the block ends.

    Args:
        path: The file.
        sync: Whether to wait until the disk has it, so that not even a machine that loses power tears it.

    Raises:
        GanforgeError: An OSError came: the folder cannot be written, or the disk is full; the old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        rights = temporary.stat().st_mode & 0o777
        yield temporary
        temporary.chmod(rights)  # whoever wrote may have put a file of its own there
        if sync:
            _sync(temporary)
        temporary.replace(path)
        if sync:
            _sync(path.parent)
    except OSError as error:
        with suppress(OSError):  # the first one says what is wrong
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file in one piece; a reader sees the old one or the new one, never a part. `sync` as `replacing`.

    Raises:
        GanforgeError: As `replacing`.
    """
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file and sync it; a line that was cut short lacks its line feed.

    Raises:
        GanforgeError: The file cannot be written, or the disk is full.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def remove(path: Path) -> None:
    """Remove a file, if it is there.

    Raises:
        GanforgeError: The folder cannot be written.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> GanforgeError:
    """The user's side of an error of the file system."""
    return GanforgeError(f"cannot write {path}: {error.strerror or error}", "check space and rights there")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
