"""Atomic writing of arrays and folders."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import drafting


class ArrayWriter:
    """Writes an array row by row, in memory or to an ``.npy`` file, and hashes it.

    The file is not memory-mapped: in a map, a full disk kills the process instead of raising `OSError`. `shape` is the
    maximum shape; the array ends with the last row written.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, path: Path | None) -> None:
        self._row_shape = tuple(shape[1:])
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._hash = hashlib.sha256()
        self._filled = 0
        self._file = path.open("wb") if path else None
        self._rows = np.empty(0 if path else tuple(shape), self.dtype)
        self._write_header(shape[0])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``[n, ...]`` of the rows so far."""
        return (self._filled, *self._row_shape)

    @property
    def array(self) -> NDArray[Any]:
        """Rows so far, if kept in memory."""
        return self._rows[: self._filled]

    def _write_header(self, rows: int) -> None:
        """Write the header, whose length does not depend on the number of rows."""
        if self._file:
            header = {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (rows, *self._row_shape),
            }
            np.lib.format.write_array_header_2_0(self._file, header)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows ``[n, ...]``."""
        rows = np.ascontiguousarray(rows, self.dtype)
        self._hash.update(rows.data)
        if self._file:
            self._file.write(rows.data)
        else:
            self._rows[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the rows so far."""
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._file:
            if error is None:
                self._file.seek(0)
                self._write_header(self._filled)
                self._file.flush()
                os.fsync(self._file.fileno())
            self._file.close()


class FolderExistsError(DataError):
    """A new folder already exists, perhaps since another process has just created it."""


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Create a folder atomically: yield a hidden folder, renamed on success and removed on failure."""
    taken = FolderExistsError(f"{folder} already exists", "give the name of a new folder")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise taken
    with drafting(folder) as draft:
        draft.mkdir()
        yield draft
        try:
            draft.rename(folder)
        except OSError as error:
            # Another process created it; if it runs on another machine, the folder may not be visible here yet.
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                raise taken from None
            raise
