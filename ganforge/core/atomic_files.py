"""Atomic files: written beside their path, synced, and renamed into place."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from ganforge.contract.errors import GanforgeError
from ganforge.core.text import escape_controls

_DRAFT = re.compile(r"\..+\.[0-9a-f]{8}(?P<host>[0-9a-f]{8})?\.ganforge-draft", re.DOTALL)
"""Name of a draft's folder, with a hash of the host."""

_FOREIGN = 86400.0
"""Seconds for which drafts of other hosts are kept: on some shared file systems, their locks are not visible."""

_LOCK = "ganforge.lock"
"""Lock file in a draft's folder."""


@contextmanager
def drafting(path: Path) -> Iterator[Path]:
    """Yield a path for a draft of `path`, in a hidden folder beside it that is removed when the block ends.

    The process locks a file in that folder; the kernel releases the lock when the process ends. The first write into a
    folder removes its unlocked drafts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale_drafts(path.parent.absolute())
    lock = None
    while lock is None:
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_hash_host()}.ganforge-draft")
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


@cache  # once per process: a folder may hold many files
def remove_stale_drafts(folder: Path) -> None:
    """Remove drafts in a folder whose processes have ended; see `drafting`.

    A draft is a folder of that name, not a link, with a lock file that no process holds; of another host, a day old.
    """
    for draft in folder.glob(".*.ganforge-draft"):
        with suppress(OSError):  # in use, not a draft, or removed by another process
            name, found = _DRAFT.fullmatch(draft.name), draft.lstat()
            if not name or not stat.S_ISDIR(found.st_mode):
                continue
            if name["host"] not in (None, _hash_host()) and time.time() - found.st_mtime < _FOREIGN:
                continue
            if not any(draft.iterdir()):  # killed before the lock file existed, or after
                draft.rmdir()
                continue
            lock = _open(draft / _LOCK, os.O_RDWR, follow=False)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_draft(draft)
            finally:
                os.close(lock)


def _hash_host() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _remove_draft(draft: Path) -> None:
    """Remove a draft, its lock file last, since the lock file distinguishes it from a user's folder."""
    with suppress(OSError):
        for each in draft.iterdir():
            if stat.S_ISDIR(each.lstat().st_mode):
                shutil.rmtree(each)
            elif each.name != _LOCK:
                each.unlink()
        (draft / _LOCK).unlink(missing_ok=True)
        draft.rmdir()


def lock_file(path: Path) -> int:
    """Create and lock a regular file with ``flock`` until its descriptor is closed or the process ends.

    On a file system without locks, the file stays unlocked.

    Raises:
        BlockingIOError: Another process holds the lock.
    """
    while True:
        lock = _open(path, os.O_RDWR | os.O_CREAT, follow=False)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise
        except OSError:  # no locks on this file system, so `remove_stale_drafts` removes nothing either
            pass
        if os.fstat(lock).st_nlink:
            return lock
        os.close(lock)  # another process removed the file in between


def is_locked(path: Path) -> bool:
    """Return whether another process holds the lock of a file; False for a missing or special file."""
    try:
        lock = _open(path, os.O_RDONLY, follow=False)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system
        return False
    finally:
        os.close(lock)
    return False


@contextmanager
def replacing(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a temporary file that replaces `path` when the block ends; on an error, an older file is unchanged.

    With `sync` it waits for the disk, so that the file survives a loss of power.
    """
    try:
        with drafting(path) as temporary:
            temporary.touch()
            rights = temporary.stat().st_mode & 0o777
            yield temporary
            temporary.chmod(rights)  # the block may have replaced the file
            if sync:
                _sync(temporary)
            temporary.replace(path)
            if sync:
                _sync(path.parent)
    except OSError as error:
        raise write_error(path, error) from error


def read_text(path: Path, most: int = 1 << 24, *, follow: bool = True) -> str:
    """Read a text file of at most `most` bytes, UTF-8 with or without a byte order mark.

    Raises:
        OSError: As `open_regular`; or the file is larger.
        UnicodeDecodeError: Invalid UTF-8.
    """
    return read_bytes(path, most, follow=follow).decode("utf-8-sig")


def read_bytes(path: Path, most: int | None = None, *, follow: bool = True) -> bytes:
    """Read a file; arguments and errors as `read_text` and `open_regular`."""
    with open_regular(path, follow=follow) as file:
        if most is None:
            return file.read()
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MB")
        return file.read(min(most, max(size, 1 << 20)))  # a read allocates what it may return


def open_regular(path: Path, *, follow: bool = True) -> IO[bytes]:
    """Open a regular file for reading, or raise an OSError, without blocking on a named pipe or a device.

    With `follow` the path may be a symbolic link: true for a file that the user names, false for one in a run.
    """
    try:
        return os.fdopen(_open(path, os.O_RDONLY, follow=follow), "rb")
    except ValueError:  # a name with a NUL
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)) from None


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> None:
    """Write a file atomically; `sync` and errors as `replacing`."""
    with replacing(path, sync=sync) as temporary:
        temporary.write_bytes(content)


def append_line(path: Path, line: str) -> None:
    """Append a line to a regular file and sync it; control characters are escaped.

    If the last line of the file lacks its line feed, that is added first.
    """
    try:
        with os.fdopen(_open_to_change(path, os.O_APPEND | os.O_CREAT), "ab") as file:
            size = os.fstat(file.fileno()).st_size
            torn = size > 0 and os.pread(file.fileno(), 1, size - 1) != b"\n"
            file.write(b"\n" * torn + escape_controls(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def remove_torn_line(path: Path) -> str:
    """Remove a last line that lacks its line feed; return a note about it, or an empty text."""
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
        raise write_error(path, error) from error


def remove(path: Path) -> None:
    """Remove a file if it exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def write_error(path: Path, error: OSError) -> GanforgeError:
    """Convert an error of the file system to a `GanforgeError`."""
    if isinstance(error, FileNotFoundError) and not path.parent.exists():
        return GanforgeError(f"cannot write {path}: its folder was moved or deleted", "put it back at that path")
    return GanforgeError(f"cannot write {path}: {error.strerror or error}", "check space and rights there")


def name_kind(mode: int) -> str:
    """Name the type of a file by its ``st_mode``."""
    kinds = {
        stat.S_IFREG: "a regular file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")


def _open(path: Path, flags: int, *, follow: bool) -> int:
    """Open a regular file; check its type before, since opening a device may change it, and after."""
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
    """Open a file for changes in place; refuse hard links."""
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
