"""Common format of all examples of a packed array."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from ganforge.config.resolution import Resolution, size_of
from ganforge.contract.errors import DataError
from ganforge.data.decode import FILTER, crop_size
from ganforge.data.items import Example, Format, Shape, Size

DEFAULT_RESOLUTION = 64  # default edge length in pixels for images of different sizes


@dataclass(frozen=True)
class PackingPlan:
    """Common format of examples: ``shape`` (H, W, C), (C, T) or (D,), the reason for the size, and the type."""

    shape: Shape
    chosen: str
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, formats: Collection[Format], resolution: Resolution | None, name: str) -> PackingPlan:
        """Choose a format for the given original ones; raise `DataError` if they are incompatible."""
        shapes = {each.shape for each in formats}
        dimensions = {len(shape) for shape in shapes}
        if dimensions <= {1, 2} and len(dimensions) == 1:
            kind = "vectors" if dimensions == {1} else "signals"
            if len(shapes) > 1:
                raise DataError(f"{name}: {kind} differ in length: {sorted(shape[-1] for shape in shapes)}")
            if resolution is not None:
                raise DataError(f"{name} holds {kind}, which have no resolution", "omit --resolution")
            return cls(next(iter(shapes)), "", np.dtype(np.float32))
        if dimensions != {3}:
            raise DataError(f"{name} mixes images and {'vectors' if 1 in dimensions else 'signals'}")
        channels = {shape[2] for shape in shapes}
        if not (len(channels) == 1 or channels == {1, 3}):
            raise DataError(
                f"{name} mixes images of {max(channels)} channels with others", "give all of them the same channels"
            )
        dtype = _common_dtype({each.dtype for each in formats}, name)
        sizes = {shape[:2] for shape in shapes}
        if resolution is not None:
            return cls((*size_of(resolution), max(channels)), "as requested", dtype)
        if len(sizes) == 1:
            return cls((*sizes.pop(), max(channels)), "the size of all images", dtype)
        size = (DEFAULT_RESOLUTION, DEFAULT_RESOLUTION)
        return cls((*size, max(channels)), "the default, as the images differ in size", dtype)

    @property
    def is_image(self) -> bool:
        """True for ``[C, H, W]``."""
        return len(self.shape) == 3

    @property
    def size(self) -> Size | None:
        """Height and width for cropping and resizing; None for vectors and signals."""
        return (self.shape[0], self.shape[1]) if self.is_image else None

    @property
    def row_shape(self) -> Shape:
        """Shape of a row of the packed array: ``(C, H, W)``, ``(C, T)`` or ``(D,)``."""
        return (self.shape[2], *self.shape[:2]) if self.is_image else self.shape

    def rows(self, examples: Collection[Example]) -> np.ndarray[Any, Any]:
        """Stack resized examples to ``[n, C, H, W]``, ``[n, C, T]`` or ``[n, D]``."""
        if not self.is_image:
            return np.stack([example.array for example in examples])
        images = np.empty((len(examples), *self.shape), self.dtype)
        for row, example in zip(images, examples, strict=True):
            array = example.array
            if array.dtype == np.uint16 and self.dtype == np.uint8:
                array = (array.astype(np.uint32) + 128) // 257
            row[...] = array  # broadcasts gray to all channels
        return images.transpose(0, 3, 1, 2)

    def describe(self, formats: Collection[Format]) -> dict[str, Any]:
        """Describe the preprocessing of examples of these formats, for `PackedData.origin`."""
        if self.size is None:
            return {}
        sizes = {(each.shape[0], each.shape[1]) for each in formats}
        crops = {size: crop_size(size, self.size) for size in sizes}
        return {
            "size": list(self.shape[:2]),
            "size_is": self.chosen,
            "crop": "none" if all(size == crop for size, crop in crops.items()) else "center",
            "resize": "none" if all(crop == self.size for crop in crops.values()) else FILTER,
        }


def _common_dtype(names: set[str], name: str) -> np.dtype[Any]:
    """Return the type of packed images: that of all, or 8 bits for a mix of 8 and 16 bits."""
    known = names - {""}
    if len(known) < 2:
        return np.dtype(known.pop() if known else np.uint8)
    if "float32" in known:
        raise DataError(f"{name} mixes float and integer images", "give all of them the same type")
    return np.dtype(np.uint8)
