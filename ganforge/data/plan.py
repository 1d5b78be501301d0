"""Common format of all examples of a packed array."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.config.resolution import Resolution, size_of
from ganforge.contract.errors import DataError
from ganforge.data.decode import FILTER, crop_size
from ganforge.data.items import Example, Shape, Size

DEFAULT_RESOLUTION = 64  # default edge length in pixels for images of different sizes


@dataclass(frozen=True)
class PackingPlan:
    """Common format of examples: ``shape`` (H, W, C) or (D,), and the reason for the size."""

    shape: Shape
    chosen: str

    @classmethod
    def of(cls, shapes: Collection[Shape], resolution: Resolution | None, name: str) -> PackingPlan:
        """Choose a format for the given original shapes; raise `DataError` if they are incompatible."""
        if {len(shape) for shape in shapes} == {1}:
            if len(shapes) > 1:
                raise DataError(f"{name}: vectors differ in length: {sorted(shape[0] for shape in shapes)}")
            if resolution is not None:
                raise DataError(f"{name} holds vectors, which have no resolution", "omit --resolution")
            return cls(next(iter(shapes)), "")
        if {len(shape) for shape in shapes} != {3}:
            raise DataError(f"{name} mixes images and vectors")
        channels = {shape[2] for shape in shapes}
        if len(channels) > 1 and 4 in channels:
            raise DataError(f"{name} mixes images of 4 channels with others", "give all of them the same channels")
        sizes = {shape[:2] for shape in shapes}
        if resolution is not None:
            return cls((*size_of(resolution), max(channels)), "as requested")
        if len(sizes) == 1:
            return cls((*sizes.pop(), max(channels)), "the size of all images")
        return cls((DEFAULT_RESOLUTION, DEFAULT_RESOLUTION, max(channels)), "the default, as the images differ in size")

    @property
    def is_image(self) -> bool:
        """True for ``[C, H, W]``."""
        return len(self.shape) == 3

    @property
    def size(self) -> Size | None:
        """Height and width for cropping and resizing; None for vectors."""
        return (self.shape[0], self.shape[1]) if self.is_image else None

    @property
    def row_shape(self) -> Shape:
        """Shape of a row of the packed array: ``(C, H, W)`` or ``(D,)``."""
        return (self.shape[2], *self.shape[:2]) if self.is_image else self.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the packed array."""
        return np.dtype(np.uint8 if self.is_image else np.float32)

    def rows(self, examples: Collection[Example]) -> np.ndarray[Any, Any]:
        """Stack resized examples to ``[n, C, H, W]`` or ``[n, D]``."""
        if not self.is_image:
            return np.stack([example.array for example in examples])
        images = np.empty((len(examples), *self.shape), np.uint8)
        for row, example in zip(images, examples, strict=True):
            row[...] = example.array  # broadcasts gray to all channels
        return images.transpose(0, 3, 1, 2)

    def describe(self, shapes: Collection[Shape]) -> dict[str, Any]:
        """Describe the preprocessing of examples of these shapes, for `PackedData.origin`."""
        if self.size is None:
            return {}
        sizes = {(height, width): crop_size((height, width), self.size) for height, width, _ in shapes}
        return {
            "size": list(self.shape[:2]),
            "size_is": self.chosen,
            "crop": "none" if all(size == crop for size, crop in sizes.items()) else "center",
            "resize": "none" if all(crop == self.size for crop in sizes.values()) else FILTER,
        }
