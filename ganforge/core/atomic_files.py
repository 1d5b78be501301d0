"""Files and folders that are whole or not there: made beside their place, synced, and moved into it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from ganforge.contract.errors import GanforgeError
from ganforge.core.text import escape_controls

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}\.ganforge-draft", re.DOTALL)
"""The name of a draft's folder."""

_LOCK = "ganforge.lock"
"""The lock file in a draft's folder."""


@contextmanager
def drafting(path: Path) -> Iterator[Path]:
    """A place for what is to replace `path`: nothing yet, in a hidden folder beside it that goes when the block ends.

    The maker holds the lock file in that folder, and the kernel releases it when the process ends, however that ends.
    A process that writes into a folder for the first time removes the drafts there that nobody holds.

    Raises:
        OSError: The folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent.absolute())
    lock = None
    while lock is None:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.ganforge-draft")
        draft.mkdir()
        try:
            lock = lock_file(draft / _LOCK)
        except (BlockingIOError, FileNotFoundError):  # another process swept it before it was locked
            continue
        except OSError:
            _remove_draft(draft)
            raise
    try:
        yield draft / path.name
    finally:
        _remove_draft(draft)
        os.close(lock)


@cache  # once a process: a folder may hold many files
def sweep(folder: Path) -> None:
    """Remove drafts in a folder whose makers are gone; see `drafting`.

    A draft has a name of that form, is a folder and no link, and holds a lock file that nobody holds. Call it where a
    process may only read what another one finished just before it was killed.
    """
    for draft in folder.glob(".*.ganforge-draft"):
        with suppress(OSError):  # its maker is at work, or it is not a draft, or another process was faster
            if not _DRAFT.fullmatch(draft.name) or not stat.S_ISDIR(draft.lstat().st_mode):
                continue
            if not any(draft.iterdir()):  # its maker was killed before or after the lock file was there
                draft.rmdir()
                continue
            lock = _open(draft / _LOCK, os.O_RDWR, follow=False)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_draft(draft)
            finally:
                os.close(lock)


def _remove_draft(draft: Path) -> None:
    """Remove a draft, its lock file last: as long as anything is in it, it can be told from a user's folder."""
    with suppress(OSError):
        for each in draft.iterdir():
            if stat.S_ISDIR(each.lstat().st_mode):
                shutil.rmtree(each)
            elif each.name != _LOCK:
                each.unlink()
        (draft / _LOCK).unlink(missing_ok=True)
        draft.rmdir()


def lock_file(path: Path) -> int:
    """Create a lock file, if it is not there, and lock it until its descriptor is closed or the process ends.

    It is ``flock`` on a regular file. Where the file system has no locks, the file is not locked.

    Returns:
        The descriptor, open for reading and writing.

    Raises:
        BlockingIOError: Another process holds it.
        OSError: It cannot be opened or created.
    """
    while True:
        lock = _open(path, os.O_RDWR | os.O_CREAT, follow=False)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise
        except OSError:  # a file system without locks, where nobody sweeps either
            pass
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # its holder removed it in between


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
        with drafting(path) as temporary:
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


def read_text(path: Path, most: int = 1 << 24, *, follow: bool = True) -> str:
    """The text of a file, UTF-8 with or without a byte order mark.

    Args:
        path: The file.
        most: Bytes that it may have; of a larger one nothing is read.
        follow: As `open_regular`.

    Raises:
        OSError: As `open_regular`; or it is larger.
        UnicodeDecodeError: It is no text.
    """
    return read_bytes(path, most, follow=follow).decode("utf-8-sig")


def read_bytes(path: Path, most: int | None = None, *, follow: bool = True) -> bytes:
    """All of a file; arguments and errors as `read_text` and `open_regular`."""
    with open_regular(path, follow=follow) as file:
        if most is not None and os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MB")
        return file.read() if most is None else file.read(most)


def open_regular(path: Path, *, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading; a named pipe or a device is refused, and never waited for.

    Args:
        path: The file.
        follow: Whether `path` may be a symbolic link: true for a file that the user named, false for one in a run.

    Raises:
        OSError: It is not there, not a regular file, or cannot be read.
    """
    try:
        return os.fdopen(_open(path, os.O_RDONLY, follow=follow), "rb")
    except ValueError:  # a name with a NUL
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file in one piece; a reader sees the old one or the new one, never a part. `sync` as `replacing`.

    Raises:
        GanforgeError: As `replacing`.
    """
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Add a line to a regular file and sync it; control characters in it are escaped.

    A line that was cut short lacks its line feed. One that is last in the file gets it first, so that it does not
    swallow the new line.

    Raises:
        GanforgeError: The file cannot be written, has a second name (a hard link), or the disk is full.
    """
    try:
        with os.fdopen(_open_to_change(path, os.O_APPEND | os.O_CREAT), "ab") as file:
            size = os.fstat(file.fileno()).st_size
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * torn + escape_controls(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error


def remove_torn_line(path: Path) -> str:
    """Remove a last line that was cut short: it lacks its line feed.

    Returns:
        What was removed, as a sentence; empty if nothing was.

    Raises:
        GanforgeError: As `append_line`.
    """
    try:
        with os.fdopen(_open_to_change(path, 0), "r+b") as file:
            content = file.read()
            if content.endswith(b"\n") or not content:
                return ""
            file.truncate(content.rfind(b"\n") + 1)
            return f"{path}: its last line was cut short and is removed"
    except FileNotFoundError:
        return ""
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
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return GanforgeError(f"cannot write {path}: its folder was moved or deleted", "put it back at that path")
    return GanforgeError(f"cannot write {path}: {error.strerror or error}", "check space and rights there")


def name_kind(mode: int) -> str:
    """What a file of this ``st_mode`` is, in words."""
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _open(path: Path, flags: int, *, follow: bool) -> int:
    """A descriptor of a regular file; it is looked at before, since to open a device may change it, and after."""
    with suppress(FileNotFoundError):
        _require_regular(os.stat(path, follow_symlinks=follow).st_mode)
    descriptor = os.open(path, flags | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW), 0o666)
    try:
        _require_regular(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _open_to_change(path: Path, flags: int) -> int:
    """A descriptor of one of ganforge's own files, to be changed where it is; it has one name, so nothing else is."""
    descriptor = _open(path, os.O_RDWR | flags, follow=False)
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EMLINK, "it is a hard link; copy its folder and take the copy")
    return descriptor


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {name_kind(mode)}, not a regular file")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
