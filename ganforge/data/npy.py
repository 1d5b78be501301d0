"""Array files: memory-mapped ``.npy`` files with validated headers, and reading of single rows."""

from __future__ import annotations

import math
import os
import weakref
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular

MAPPED_BYTES = 1 << 28
"""Maximum size in bytes of examples that are memory-mapped, since mapped pages may stay in memory."""
_HEADER_BYTES = 1 << 16  # maximum size of a header in bytes


def map_array(path: Path, mode: Literal["r", "c"]) -> np.memmap[Any, np.dtype[Any]]:
    """Map a nonempty ``.npy`` file without pickles: ``r`` for read-only, ``c`` for copy-on-write.

    Raises:
        OSError: The file cannot be opened.
        ValueError: The file is invalid or truncated.
    """
    with open_regular(path) as file:
        start = BytesIO(file.read(_HEADER_BYTES))
        size = os.fstat(file.fileno()).st_size
    try:
        version = np.lib.format.read_magic(start)
        if version == (1, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_1_0(start)
        elif version == (2, 0):
            shape, by_columns, dtype = np.lib.format.read_array_header_2_0(start)
        else:
            raise ValueError(f"unsupported version {version}, for arrays with named fields")
    except ValueError:
        raise
    except Exception as error:  # a header is an expression, whose parser may raise any exception
        raise ValueError(f"its header cannot be read: {type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are unsupported")
    if any(length < 1 for length in shape) or not dtype.itemsize:
        raise ValueError("the array is empty")
    needed = start.tell() + math.prod(shape) * dtype.itemsize
    if size < needed:
        raise ValueError(f"it has {size} of the {needed} bytes that its header declares")
    order: Literal["C", "F"] = "F" if by_columns else "C"
    return np.memmap(path, dtype=dtype, mode=mode, offset=start.tell(), shape=shape, order=order)


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
