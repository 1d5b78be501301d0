"""Files that are whole or not there: written beside their place, synced, and moved into it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

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


def read_text(path: Path, most: int = 1 << 24) -> str:
    """The text of a file, UTF-8 with or without a byte order mark.

    Args:
        path: The file.
        most: Bytes that it may have; of a larger one nothing is read.

    Raises:
        OSError: As `open_regular`; or it is larger.
        UnicodeDecodeError: It is no text.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MB")
        return file.read(most).decode("utf-8-sig")


def read_bytes(path: Path) -> bytes:
    """All of a file; see `open_regular` for errors."""
    with open_regular(path) as file:
        return file.read()


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; what is no file, such as a pipe that nobody writes to, is not waited for.

    Raises:
        OSError: It is not there, no file, or cannot be read.
    """
    try:
        kind = path.stat().st_mode
    except ValueError:  # a name with a NUL
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "it is no file")
    return path.open("rb")


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
