"""Rows of a large file, read one by one where they are wanted, so that none of them stays in this process."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ganforge.contract.errors import DataError

MAPPED_BYTES = 1 << 28
"""Up to so many bytes of examples are read through a memory map, all pages of which may come to stay in memory."""


class RowFile:
    """An array in a file, read by `os.pread`: a map would keep every page that was touched, and kill on a broken disk.

    Several threads may read at once.

    Args:
        path: The file; it is held open, so it may be removed meanwhile.
        offset: Where the rows begin, in bytes.
        row_bytes: Of each row.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, offset: int, row_bytes: int) -> None:
        self._path = path
        self._offset = offset
        self._row_bytes = row_bytes
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor).atexit = False  # a thread may be reading to the very end

    def read(self, numbers: list[int], into: NDArray[Any]) -> None:
        """Read rows.

        Args:
            numbers: Which, in any order.
            into: Where to, ``[len(numbers), ...]`` without gaps.

        Raises:
            DataError: The disk fails, or the file has become shorter.
        """
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
                    raise DataError(f"{self._path} cannot be read: {error.strerror}", "look after the disk") from error
                if not read:
                    raise DataError(f"{self._path} ends before example {number}", "pack the data again")
                filled += read
