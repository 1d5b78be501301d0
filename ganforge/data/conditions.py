"""Conditions of examples: class labels, condition vectors, or source images.

All support ``labels[start:stop]``, so that code that reads batches is the same for all.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.core.images import to_float
from ganforge.data.decode import fit, normalize, strict_decoding
from ganforge.data.files import FolderImages, ImageFiles
from ganforge.data.sources import open_source
from ganforge.data.store import PackedData
from ganforge.data.text import printable

_MODES = {1: "L", 3: "RGB"}


class SourceImages:
    """Source images of examples `indices`, int64 ``[N]``, converted to float on access to limit memory."""

    def __init__(self, sources: PackedData, indices: Tensor) -> None:
        self._sources = sources
        self._indices = indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, part: slice) -> Tensor:
        """Return images ``[n, C, H, W]`` in [-1, 1]."""
        chosen = self._indices[part]
        pixels = torch.empty(len(chosen), *self._sources.spec.shape, dtype=self._sources.examples.dtype)
        self._sources.gather(chosen, pixels)
        return to_float(pixels)

    def take(self, positions: Tensor) -> SourceImages:
        """Return the images at `positions`, int64 ``[n]`` in ``[0, N)``."""
        return SourceImages(self._sources, self._indices[positions])

    @property
    def digest(self) -> str:
        """SHA-256 of the fingerprint and the indices, in hexadecimal."""
        indices = self._indices.numpy().astype("<i8").tobytes()
        return hashlib.sha256(self._sources.fingerprint.encode() + indices).hexdigest()


Labels = Tensor | SourceImages  # of N examples: classes int64 ``[N]``, vectors float32 ``[N, K]``, or source images


def labels_of(data: PackedData, indices: Tensor) -> Labels | None:
    """Return the conditions of examples `indices`, int64 ``[N]``; None if unconditional.

    Unpaired sources are those of the same indices, which may be fewer than N.
    """
    if data.sources is not None:
        if not data.is_paired:  # source n is held out if example n is; see `is_held_out`
            shared = indices[indices < len(data.sources)]
            indices = shared if len(shared) else torch.arange(len(data.sources))
        return SourceImages(data.sources, indices)
    return None if data.labels is None else data.labels[indices]


def draw_labels(labels: Labels, count: int, seed: int) -> Labels:
    """Draw random conditions: class labels and vectors by frequency, source images in shuffled cycles."""
    if not isinstance(labels, SourceImages):
        return draw_classes(labels, count, seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    return labels.take(order[torch.arange(count) % len(labels)])


def draw_classes(labels: Tensor, count: int, seed: int) -> Tensor:
    """Draw class labels ``[count]`` from ``[N]``, or vectors ``[count, K]`` from ``[N, K]``, with replacement."""
    chooser = torch.Generator().manual_seed(seed)
    return labels[torch.randint(len(labels), (count,), generator=chooser)]


class SourceFiles:
    """Picture files as source images ``(C, H, W)`` for a generator, cropped, resized and read on access.

    Raises:
        DataError: No pictures found.
        OptionError: Unsupported shape.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[0] not in _MODES:
            raise OptionError(
                f"this generator takes source images {list(shape)}; files give images with 1 or 3 channels",
                "use Python: ganforge.generate(generator, count, labels=images)",
            )
        found = _OnePicture(path) if path.is_file() and path.suffix.lower() != ".zip" else open_source(path)
        if not isinstance(found, ImageFiles):
            raise DataError(
                f"{printable(str(path))} holds no picture files", "give a picture, or a folder or zip of pictures"
            )
        self.names = found.names
        self._files, self._mode, self._size = found, _MODES[shape[0]], (shape[1], shape[2])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, part: slice) -> Tensor:
        """Return images ``[n, C, H, W]`` in [-1, 1]."""
        with strict_decoding():
            pixels = np.stack([self._read(index) for index in range(*part.indices(len(self)))])
        return to_float(torch.from_numpy(pixels).permute(0, 3, 1, 2))

    def _read(self, index: int) -> NDArray[np.uint8]:
        """Read one image ``[H, W, C]``."""
        image = normalize(self._files.picture(index), self.names[index])  # 8 bits
        return np.atleast_3d(np.asarray(fit(image, self._size).convert(self._mode)))


class _OnePicture(FolderImages):
    """Single file as a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(path.parent)
        self.files = {path.name: path.stat()}
