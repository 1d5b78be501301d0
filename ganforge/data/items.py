"""What a data set yields, checked and brought to arrays."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.data.decode import fit, normalise
from ganforge.data.files import ImageFiles
from ganforge.errors import DataError, GanforgeError, PluginError

Shape = tuple[int, ...]
"""One example as it is yielded: ``(H, W, C)`` for an image, ``(D,)`` for a vector."""

_SURVEYED = 64
_CONTRACT = (
    "an example is a PIL image, uint8 [H, W] or [H, W, C] with C of 1, 3 or 4, or a float vector [D]; "
    "or a pair of that and an int label"
)


@dataclass(frozen=True)
class Example:
    """One example.

    Attributes:
        shape: As it was yielded.
        array: The image, uint8 ``[H, W, C]``, or the vector, float32 ``[D]``.
        label: Its class, or None.
    """

    shape: Shape
    array: NDArray[Any]
    label: int | None


class Reader:
    """Reads a data set in chunks, and names whoever breaks the contract.

    Args:
        dataset: Anything map-style that yields what `ganforge.Dataset` says.
        name: What to call it in an error.

    Raises:
        PluginError: It has no length.
        DataError: It is empty.
    """

    def __init__(self, dataset: Any, name: str) -> None:
        self.dataset = dataset
        self.name = name
        # Other people's data sets need not bear two threads at once.
        self._lock = None if isinstance(dataset, ImageFiles) else threading.Lock()
        try:
            self.length = len(dataset)
            self.class_names = tuple(str(each) for each in getattr(dataset, "class_names", ()))
        except GanforgeError:
            raise
        except Exception as error:
            raise PluginError(f"{name} cannot be opened: {type(error).__name__}: {error}") from error
        if self.length == 0:
            raise DataError(f"{name} is empty", "training needs examples")

    def survey(self) -> set[Shape]:
        """Shapes of examples: of all that have a header to look at, else of some spread over the data set."""
        if isinstance(self.dataset, ImageFiles):
            return {self.dataset.shape(index) for index in range(self.length)}
        indices = sorted({round(index) for index in np.linspace(0, self.length - 1, _SURVEYED)})
        return {example.shape for example in self.read(indices)}

    def read(self, indices: Sequence[int], edge: int | None = None) -> list[Example]:
        """Fetch examples.

        Args:
            indices: Which.
            edge: Crop and resize images to this many pixels along an edge; None to leave them.

        Raises:
            PluginError: The data set fails or breaks the contract.
            DataError: An image cannot be decoded.
        """
        if self._lock is None:
            items = self._fetch(indices)
        else:
            with self._lock:
                items = self._fetch(indices)
        return [self._example(item, index, edge) for index, item in zip(indices, items, strict=True)]

    def _fetch(self, indices: Sequence[int]) -> list[Any]:
        where = f"{self.name}, example {indices[0]}"
        try:
            if hasattr(self.dataset, "__getitems__"):
                where = f"{self.name}, examples {indices[0]} to {indices[-1]}"
                items = list(self.dataset.__getitems__(list(indices)))
            else:
                items = []
                for index in indices:
                    where = f"{self.name}, example {index}"
                    items.append(self.dataset[index])
        except GanforgeError:
            raise
        except Exception as error:
            raise PluginError(f"{where}: {type(error).__name__}: {error}") from error
        if len(items) != len(indices):
            raise PluginError(f"{where}: __getitems__ returned {len(items)} items for {len(indices)} indices")
        return items

    def _example(self, item: Any, index: int, edge: int | None) -> Example:
        where = f"{self.name}, example {index}"
        label = None
        if isinstance(item, (tuple, list)):
            if len(item) != 2:
                raise PluginError(f"{where} is a {type(item).__name__} of {len(item)}", _CONTRACT)
            item, label = item[0], _read_label(item[1], where)
        if isinstance(item, Image.Image):
            image = normalise(item, where)
            shape: Shape = (image.height, image.width, len(image.getbands()))
            return Example(shape, _pixels(image if edge is None else fit(image, edge)), label)
        array = _read_array(item, where)
        shape = array.shape
        if array.ndim == 3 and edge is not None and shape[:2] != (edge, edge):
            array = _pixels(fit(Image.fromarray(array[:, :, 0] if shape[2] == 1 else array), edge))
        return Example(shape, array, label)


def _pixels(image: Image.Image) -> NDArray[Any]:
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _read_label(label: Any, where: str) -> int | None:
    if label is None:
        return None
    try:
        number: Any = label.item() if isinstance(label, (Tensor, np.ndarray)) else label
        return operator.index(number)
    except (TypeError, ValueError, RuntimeError):
        raise PluginError(f"{where}: the label {label!r} is no int", "labels count classes from 0") from None


def _read_array(item: Any, where: str) -> NDArray[Any]:
    array = item.detach().cpu().numpy() if isinstance(item, Tensor) else item
    if not isinstance(array, np.ndarray):
        raise PluginError(f"{where} is a {type(item).__name__}", _CONTRACT)
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 2:
            return array[:, :, None]
        if array.ndim == 3 and array.shape[2] in (1, 3, 4):
            return array
    if array.dtype.kind == "f" and array.ndim == 1 and array.size:
        vector = array.astype(np.float32, copy=False)
        if not np.isfinite(vector).all():
            raise DataError(f"{where} holds values that are not finite", "remove such examples")
        return vector
    raise PluginError(f"{where} is {array.dtype} {list(array.shape)}", _CONTRACT)
