"""Data at a path: pictures, an array file, or a packed folder."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganforge.contract.data import Dataset, Paired
from ganforge.contract.errors import DataError
from ganforge.data.files import FolderImages, ImageFiles, ZipImages
from ganforge.data.manifest import is_packed
from ganforge.data.npy import map_array
from ganforge.data.store import PackedData
from ganforge.data.text import printable, reason_of

LARGEST_EXAMPLE = 1 << 28  # maximum number of values in an example of an array

_HINT = "give a folder or zip of images, an .npy array or a packed folder"


def open_source(path: Path) -> ImageFiles | ArrayFile | PackedFolder:
    """Open the data at a path without reading examples; raise `DataError` if they are unsupported."""
    if not os.path.exists(path):  # Path.exists fails for names that are too long
        raise DataError(f"{printable(str(path))}: no such file or folder", suggest_path(path) or _HINT)
    if path.is_dir():
        return PackedFolder(path) if is_packed(path) else FolderImages(path)
    if path.suffix.lower() == ".zip":
        return ZipImages(path)
    if path.suffix.lower() == ".npy":
        return ArrayFile(path)
    raise DataError(
        f"{printable(str(path))}: data in a {printable(path.suffix) or 'nameless'} file cannot be read", _HINT
    )


def suggest_path(path: Path) -> str:
    """Return a hint that gives the most similar name in the folder of a missing path; empty without one."""
    try:
        close = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1)
    except OSError:
        return ""
    return f"did you mean '{printable(str(path.parent / close[0]))}'?" if close else ""


class _Rows(Dataset):
    """Rows of an array ``[N, H, W, C]``, ``[N, C, T]`` or ``[N, D]`` as examples; with `sources`, as pairs."""

    array: NDArray[Any]
    labels: NDArray[Any] | None = None
    sources: NDArray[Any] | None = None

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        rows = self.array[indices]
        if self.sources is not None:
            return [Paired(row, source) for row, source in zip(rows, self.sources[indices], strict=True)]
        return list(rows) if self.labels is None else list(zip(rows, self.labels[indices], strict=True))


class ArrayFile(_Rows):
    """Memory-mapped ``.npy`` file without pickles, with labels from ``NAME.labels.npy`` beside ``NAME.npy``.

    It holds uint8 or uint16 images ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]``; float images of the latter two
    shapes; float signals ``[N, C, T]``; or float vectors ``[N, D]`` or ``[N]``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.title = printable(str(path))

    @cached_property
    def array(self) -> NDArray[Any]:  # type: ignore[override]
        """Images ``[N, H, W, C]``, signals ``[N, C, T]`` or vectors ``[N, D]``."""
        try:
            array = map_array(self.path, "r")
        except (OSError, ValueError) as error:
            raise DataError(f"{self.title}: invalid .npy file: {reason_of(error)}", _FORMS) from error
        if math.prod(array.shape[1:]) > LARGEST_EXAMPLE:
            raise DataError(f"{self.title}: examples {list(array.shape[1:])} are too large", _FORMS)
        is_float = array.dtype.kind == "f"
        if array.ndim == 4 and (is_float or array.dtype.name in ("uint8", "uint16")):
            return self._channels_last(array)
        if array.ndim == 3 and array.dtype.name in ("uint8", "uint16"):
            return array[..., None]
        if array.ndim < 4 and array.ndim and is_float:
            return array if array.ndim > 1 else array[:, None]
        raise DataError(f"{self.title}: unsupported array {list(array.shape)} of {array.dtype.name}", _FORMS)

    def _channels_last(self, array: NDArray[Any]) -> NDArray[Any]:
        views = [view for view in (array, np.moveaxis(array, 1, 3)) if view.shape[3] in (1, 3, 4)]
        if not views:  # such as satellite images: channels are fewer than rows and columns
            views = [view for view in (array, np.moveaxis(array, 1, 3)) if view.shape[3] < min(view.shape[1:3])]
        if len(views) == 2:  # tiny images, e.g. [N, 3, 4, 4]: prefer square images
            views = [view for view in views if view.shape[1] == view.shape[2]]
        if len(views) != 1:
            raise DataError(f"{self.title}: the channel axis of {list(array.shape)} is ambiguous", _FORMS)
        return views[0]

    @cached_property
    def labels(self) -> NDArray[Any] | None:  # type: ignore[override]
        """Classes ``[N]`` or condition vectors ``[N, K]``; None without the file."""
        path = self._label_path
        if not path.exists():
            return None
        where = printable(str(path))
        try:
            labels = map_array(path, "r")
        except (OSError, ValueError) as error:
            raise DataError(f"{where}: invalid .npy file: {reason_of(error)}", _LABEL_FORMS) from error
        if labels.ndim not in (1, 2) or labels.dtype.kind not in "fiub" or len(labels) != len(self.array):
            raise DataError(
                f"{where}: {labels.dtype.name} {list(labels.shape)} are no labels of {len(self.array)} examples",
                _LABEL_FORMS,
            )
        return labels[:, None] if labels.ndim == 1 and labels.dtype.kind == "f" else labels

    @property
    def _label_path(self) -> Path:
        return self.path.with_suffix(".labels.npy")

    def cache_key(self) -> str:
        info = self.path.stat()
        key = f"{self.path.resolve()} {info.st_size} {info.st_mtime_ns}"
        if self._label_path.exists():
            info = self._label_path.stat()
            key += f" labels {info.st_size} {info.st_mtime_ns}"
        return key


_FORMS = (
    "images [N, H, W, C] or [N, C, H, W] of uint8, uint16 or float, gray ones [N, H, W] of uint8 or uint16, "
    "float signals [N, C, T], or float vectors [N, D] or [N]"
)


_LABEL_FORMS = "labels are integer classes [N], or vectors [N, K] of numbers"


class PackedFolder(_Rows):
    """Packed folder as a source of examples, to be packed at another resolution."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = PackedData.load(path)
        self.array = _rows_of(self.data)
        self.sources = None if self.data.sources is None else _rows_of(self.data.sources)
        self.labels = None if self.data.labels is None else self.data.labels.numpy()
        self.class_names = self.data.class_names
        self.number_names = self.data.number_names

    def cache_key(self) -> str:
        return self.data.fingerprint


def _rows_of(data: PackedData) -> NDArray[Any]:
    """Return images ``[N, H, W, C]``, signals ``[N, C, T]`` or vectors ``[N, D]``."""
    examples = data.examples.numpy()
    return np.moveaxis(examples, 1, 3) if examples.ndim == 4 else examples
