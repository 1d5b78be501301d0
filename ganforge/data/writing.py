"""Writes arrays and folders so that a full disk or a kill leaves nothing half done."""

from __future__ import annotations

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
    """Takes the rows of one array from first to last, in memory or into an ``.npy`` file, and hashes them on the way.

    A file is written from front to back, not through a memory map: in a map, a full disk kills the process, here it is
    an `OSError`.

    Args:
        shape: ``[N, ...]`` of the whole array, or of more: rows that never come are not part of it.
        dtype: Of the whole array.
        path: The file; None to keep the array in memory, as `array`.
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
        """``[N, ...]`` of all rows so far."""
        return (self._filled, *self._row_shape)

    @property
    def array(self) -> NDArray[Any]:
        """All rows so far, if they are kept in memory."""
        return self._rows[: self._filled]

    def _write_header(self, rows: int) -> None:
        """Write the header, which is of one length however many rows there are."""
        if self._file:
            header = {
                "descr": np.lib.format.dtype_to_descr(self.dtype),
                "fortran_order": False,
                "shape": (rows, *self._row_shape),
            }
            np.lib.format.write_array_header_2_0(self._file, header)

    def append(self, rows: NDArray[Any]) -> None:
        """Write the next rows, ``[n, ...]``."""
        rows = np.ascontiguousarray(rows, self.dtype)
        self._hash.update(rows.data)
        if self._file:
            self._file.write(rows.data)
        else:
            self._rows[self._filled : self._filled + len(rows)] = rows
        self._filled += len(rows)

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes of all rows so far."""
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


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that comes into being with all that is in it, or not at all.

    Args:
        folder: Must not exist, or be empty.

    Yields:
        A hidden folder beside it, to be filled; it is renamed when the block ends well and removed when it does not.

    Raises:
        DataError: There is something in the way, before the block or after it.
    """
    taken = DataError(f"{folder} exists already", "name a folder that does not exist yet")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise taken
    with drafting(folder) as draft:
        draft.mkdir()
        yield draft
        try:
            draft.rename(folder)
        except OSError:
            if folder.exists():  # another process was faster
                raise taken from None
            raise
