"""Validation of data set items, and their conversion to arrays."""

from __future__ import annotations

import operator
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganforge.contract.data import Dataset, Paired
from ganforge.contract.errors import DataError, GanforgeError, PluginError
from ganforge.data.decode import fit, fit_array, normalize
from ganforge.data.files import ImageFiles
from ganforge.data.labels import Label, LabelTable, check_vector
from ganforge.data.text import printable, reason_of, short
from ganforge.data.unreadable import BadExamples, max_skipped

Shape = tuple[int, ...]  # ``(H, W, C)`` for an image, ``(C, T)`` for a signal, ``(D,)`` for a vector
Size = tuple[int, int]  # height and width in pixels

_SURVEYED = 64
_CONTRACT = (
    "an example is a PIL image; an image of uint8 [H, W] or [H, W, C], of uint16 likewise, or of float [H, W, C], "
    "channels last; a float signal [C, T]; or a float vector [D]; "
    "or a pair of that and an int label or a condition vector [K], or a Paired of two images"
)
_CHANNELS = (
    "an image is uint8 [H, W] or [H, W, C], or float [H, W, C]; reorder it by tensor.permute(1, 2, 0) "
    "or array.transpose(1, 2, 0)"
)


class Format(NamedTuple):
    """Original shape of an example, and its type: ``uint8``, ``uint16`` or ``float32``; empty if unknown."""

    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Example:
    """One example with its original shape, and its source image of a pair.

    The array is an image, uint8, uint16 or float32 ``[H, W, C]``, a signal, float32 ``[C, T]``, or a vector, float32
    ``[D]``.
    """

    shape: Shape
    array: NDArray[Any]
    label: Label
    source: Example | None = None

    @property
    def format(self) -> Format:
        """Original shape and type."""
        return Format(self.shape, self.array.dtype.name)

    @property
    def sides(self) -> tuple[Example, ...]:
        """Example and its source image, if any."""
        return (self,) if self.source is None else (self, self.source)


class Reader:
    """Reads a data set in chunks, validates its items, and skips unreadable ones up to a limit if asked.

    Attributes:
        length: Number of examples, readable or not.
        bad: Examples that were skipped.
    """

    def __init__(self, dataset: Any, name: str, skip_bad: bool = False) -> None:
        self.dataset = dataset
        self.name = name
        self._sides = 0  # 1, or 2 for pairs, once known
        # Third-party data sets need not be thread-safe.
        self._lock = nullcontext() if isinstance(dataset, ImageFiles) else threading.Lock()
        try:
            self.length = len(dataset)
            self.class_names = tuple(str(each) for each in getattr(dataset, "class_names", ()))
            self.number_names = tuple(str(each) for each in getattr(dataset, "number_names", ()))
        except GanforgeError:
            raise
        except Exception as error:
            raise PluginError(f"{name} cannot be opened: {type(error).__name__}: {error}") from error
        if self.length == 0:
            raise DataError(f"{name} is empty", "training needs examples")
        self.bad = BadExamples(name, self.length, max_skipped(self.length) if skip_bad else None)

    def survey(self) -> list[set[Format]]:
        """Return formats: of all examples if the data set declares them, else of a sample; of pairs, two sets."""
        if (declared := self._headers()) is not None:
            return [declared]
        found: list[set[Format]] = [set()]
        for index in sorted({round(index) for index in np.linspace(0, self.length - 1, _SURVEYED)}):
            for example in self.read([index]):  # one at a time, as they may be large
                found += [set() for _ in example.sides[len(found) :]]
                for known, side in zip(found, example.sides, strict=True):
                    known.add(side.format)
        return found

    def _headers(self) -> set[Format] | None:
        """Return the declared formats of all examples; None if the data set declares none."""
        if not isinstance(self.dataset, Dataset):
            return None
        formats: set[Format] = set()
        for index in range(self.length):
            try:
                if isinstance(self.dataset, ImageFiles):
                    formats.add(Format(*self.dataset.example_format(index)))
                    continue
                shape = self.dataset.example_shape(index)
            except DataError as error:
                self._skip(index, error)
            except GanforgeError:
                raise
            except Exception as error:
                raise _contract_error(self.name_of(index)[1], error) from error
            else:
                if shape is None:
                    return None
                formats.add(Format(shape, ""))
        self._sides = 1
        return formats

    def read(self, indices: Sequence[int], size: Size | None = None, source_size: Size | None = None) -> list[Example]:
        """Read examples, without those that are skipped, cropped and resized to (height, width) if given.

        Raises:
            PluginError: The data set fails or violates the contract.
            DataError: An image cannot be decoded and may not be skipped.
        """
        with self._lock:
            items = self._fetch([index for index in indices if index not in self.bad])
        examples = []
        for index, item in items:
            where = self.name_of(index)[1]
            item, label, source = _split(item, where)
            try:
                example = _example(item, label, where, size)
                if source is not None:
                    example = replace(example, source=_example(source, None, where, source_size))
                examples.append(self._check_sides(example, where))
            except DataError as error:
                self._skip(index, error, label)
        return examples

    def label(self, labels: Sequence[Label]) -> LabelTable:
        """Validate the labels of all examples that were read."""
        table = LabelTable.of(labels, self.name, self.class_names, self.number_names)
        if not table.number_names:
            self.bad.check_classes([each for each in labels if isinstance(each, int)], table.class_names)
        return table

    def name_of(self, index: int) -> tuple[str, str]:
        """Return an example's name within the data set, and its name in error messages."""
        if isinstance(self.dataset, ImageFiles):
            return self.dataset.example_name(index), self.dataset.describe(self.dataset.names[index])
        name = f"example {index}"
        if isinstance(self.dataset, Dataset):
            try:
                name = printable(str(self.dataset.example_name(index)))
            except Exception as error:
                raise _contract_error(f"{self.name}, {name}: example_name() fails", error) from error
        return name, f"{self.name}, {name}"

    def _skip(self, index: int, error: DataError, label: Label = None) -> None:
        if isinstance(self.dataset, ImageFiles) and self.dataset.labels is not None:
            label = self.dataset.labels[index]
        self.bad.add(index, *self.name_of(index), error, label if isinstance(label, int) else None)

    def _fetch(self, indices: Sequence[int]) -> list[tuple[int, Any]]:
        if not indices:
            return []
        items = []
        where = f"{self.name}, examples {indices[0]} to {indices[-1]}"
        try:
            if hasattr(self.dataset, "__getitems__"):
                batch = list(self.dataset.__getitems__(list(indices)))
                if len(batch) != len(indices):
                    raise PluginError(f"{where}: __getitems__ returned {len(batch)} items for {len(indices)} indices")
                return list(zip(indices, batch, strict=True))
            for index in indices:
                where = self.name_of(index)[1]
                try:
                    items.append((index, self.dataset[index]))
                except DataError as error:
                    self._skip(index, error)
        except GanforgeError:
            raise
        except Exception as error:
            raise _contract_error(where, error) from error
        return items

    def _check_sides(self, example: Example, where: str) -> Example:
        """Raise `PluginError` for pairs of vectors, and for a mix of pairs and single examples."""
        count = len(example.sides)
        if count > 1 and {len(side.shape) for side in example.sides} != {3}:
            raise PluginError(f"{where} pairs a vector or signal", "only images come in pairs")
        if count != (self._sides or count):
            has, have = ("no source", "one") if count == 1 else ("a source", "none")
            raise PluginError(f"{where} has {has}, others have {have}", "pair all examples or none")
        self._sides = count
        return example


def _split(item: Any, where: str) -> tuple[Any, Label, Any]:
    if isinstance(item, Paired):
        if item.source is None:
            raise PluginError(f"{where} is paired with None", _CONTRACT)
        return item.image, None, item.source
    if not isinstance(item, (tuple, list)):
        return item, None, None
    if len(item) != 2:
        raise PluginError(f"{where} is a {type(item).__name__} of {len(item)}", _CONTRACT)
    return item[0], _read_label(item[1], where), None


def _example(item: Any, label: Label, where: str, size: Size | None) -> Example:
    if isinstance(item, Image.Image):
        image = normalize(item, where, deep=True)
        shape: Shape = (image.height, image.width, len(image.getbands()))
        if image.mode in ("L", "RGB"):
            return Example(shape, _pixels(image if size is None else fit(image, size)), label)
        array = _pixels(image)
    else:
        array = _read_array(item, where)
        shape = array.shape
    if array.ndim == 3 and size is not None and shape[:2] != size:
        if array.dtype == np.uint8 and shape[2] in (1, 3, 4):
            array = _pixels(fit(Image.fromarray(array[:, :, 0] if shape[2] == 1 else array), size))
        else:
            array = fit_array(array, size)
    return Example(shape, array, label)


def _contract_error(where: str, error: Exception) -> PluginError:
    return PluginError(f"{where}: {type(error).__name__}: {reason_of(error)}")


def _pixels(image: Image.Image) -> NDArray[Any]:
    array = np.asarray(image)
    if array.dtype.itemsize == 2:  # of any byte order
        array = array.astype(np.uint16)
    return array[:, :, None] if array.ndim == 2 else array


def _read_label(label: Any, where: str) -> Label:
    if label is None:
        return None
    given: Any = label.detach().cpu().numpy() if isinstance(label, Tensor) else label
    try:
        vector = np.asarray(given) if isinstance(given, (np.ndarray, list, tuple)) else np.empty(())
        if vector.ndim == 1 and vector.dtype.kind in "fiub" and (vector.size > 1 or vector.dtype.kind == "f"):
            return check_vector(vector, where)
        return operator.index(given.item() if isinstance(given, np.ndarray) else given)
    except (TypeError, ValueError, RuntimeError):
        raise PluginError(
            f"{where}: the label {_describe_label(label)} is neither an int nor a vector of numbers",
            "labels count classes from 0, or are vectors [K]",
        ) from None


def _describe_label(label: Any) -> str:
    """Return a label in one short line; of arrays the type and shape."""
    if isinstance(label, (Tensor, np.ndarray)):
        return f"{str(label.dtype).removeprefix('torch.')} {list(label.shape)}"
    return short(printable(repr(label)), 80)


def _read_array(item: Any, where: str) -> NDArray[Any]:
    array = item.detach().cpu().numpy() if isinstance(item, Tensor) else item
    if not isinstance(array, np.ndarray):
        raise PluginError(f"{where} is a {type(item).__name__}", _CONTRACT)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] < min(array.shape[1:]):
        raise PluginError(f"{where} is {array.dtype} {list(array.shape)}: channels seem to come first", _CHANNELS)
    if array.dtype.kind == "u" and array.dtype.itemsize <= 2 and array.ndim in (2, 3) and array.size:
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return array[:, :, None] if array.ndim == 2 else array
    if array.dtype.kind == "f" and array.ndim in (1, 2, 3) and array.size:
        with np.errstate(over="ignore", invalid="ignore"):  # overflow becomes infinite, which raises an error below
            floats = array.astype(np.float32, copy=False)
        if not np.isfinite(floats).all():
            raise DataError(f"{where} holds non-finite values", "remove such examples")
        if floats.ndim > 1 and np.abs(floats).max() > 1:
            raise DataError(
                f"{where} ranges from {floats.min():g} to {floats.max():g}", "scale float images and signals to [-1, 1]"
            )
        return floats
    raise PluginError(f"{where} is {array.dtype} {list(array.shape)}", _CONTRACT)
