"""Rows of a large file, read on request without keeping pages in memory."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ganforge.contract.errors import DataError

MAPPED_BYTES = 1 << 28
"""Maximum size in bytes of examples that are memory-mapped, since mapped pages may stay in memory."""


class RowFile:
    """Rows of an array in a file from `offset` in bytes. Thread-safe; the file stays open, so it may be deleted.

    Reads with `os.preadv`, so that a failing disk raises an error instead of SIGBUS.
    """

    def __init__(self, path: Path, offset: int, row_bytes: int) -> None:
        self._path = path
        self._offset = offset
        self._row_bytes = row_bytes
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor).atexit = False  # a thread may still be reading at exit

    def read(self, numbers: list[int], into: NDArray[Any]) -> None:
        """Read rows into a contiguous array ``[len(numbers), ...]``; raise `DataError` if a read fails."""
        size = self._row_bytes
        target = into.reshape(-1).view("u1").data
        for place, number in enumerate(numbers):
            row = target[place * size : (place + 1) * size]
            start = self._offset + number * size
            filled = 0
            while filled < size:
                try:
                    read = os.preadv(self._descriptor, [row[filled:]], start + filled)
                except OSError as error:
                    raise DataError(f"{self._path} cannot be read: {error.strerror}", "check the disk") from error
                if not read:
                    raise DataError(f"{self._path} ends before example {number}", "pack the data again")
                filled += read
