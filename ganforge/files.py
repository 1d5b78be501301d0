"""Files and folders that are whole or not there: made beside their place, synced, and moved into it."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from ganforge.errors import GanforgeError


@contextmanager
def drafting(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for what is to take its place; what is still there when the block ends is removed.

    Its maker holds a lock on it, which ends with the process, however that ends. So a process that writes into a folder
    for the first time knows what was left there by others that were killed, and removes it.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.absolute())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    lock = None
    while lock is None:
        draft.mkdir(exist_ok=True)
        lock = _hold(draft, wait=True)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(lock)


@cache  # once a process: a folder may hold many files
def sweep(folder: Path) -> None:
    """Remove drafts in a folder on which nobody works any more.

    `drafting` does so where it writes; call it where a process may only read what another one finished just before it
    was killed.
    """
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError):  # somebody is at work, or it is no draft, or another process was faster
            lock = _hold(draft, wait=False)
            if lock is not None:
                shutil.rmtree(draft, ignore_errors=True)
                os.close(lock)


def _hold(draft: Path, *, wait: bool) -> int | None:
    """Lock a draft until the descriptor is closed; None if it was swept away in between.

    Raises:
        OSError: Another process holds it and is not to be waited for; or it cannot be opened.
    """
    try:
        lock = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if not wait:
            os.close(lock)
            raise
        # A file system without locks: nobody can sweep there either.
    if os.fstat(lock).st_nlink:
        return lock
    os.close(lock)
    return None


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """A file beside `path` to be written; it takes the place of `path` when the block ends.

    Args:
        path: The file.
        sync: Whether to wait until the disk has it, so that not even a machine that loses power tears it.

    Raises:
        GanforgeError: An OSError came: the folder cannot be written, or the disk is full; the old file is as it was.
    """
    try:
        with drafting(path) as draft:
            temporary = draft / path.name
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
        path.parent.mkdir(parents=True, exist_ok=True)
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
