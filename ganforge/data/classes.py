"""Labels of pictures: classes from their folders, or classes or vectors from a ``dataset.json``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganforge.contract.errors import DataError
from ganforge.core.json_schema import parse_json
from ganforge.data.labels import check_vector
from ganforge.data.text import printable, reason_of, short


class FileLabels(NamedTuple):
    """Labels of pictures: classes, or vectors float32 ``[N, K]``; and a message for the user."""

    class_names: tuple[str, ...] = ()
    number_names: tuple[str, ...] = ()
    labels: list[int] | NDArray[np.float32] | None = None
    note: str = ""


def classes_from_folders(names: Sequence[str]) -> FileLabels:
    """Label pictures by their folder, given relative names with ``/`` between folders.

    Labels require at least two folders of different names that hold pictures, none of them nested in another.
    """
    folders = [name[: name.rfind("/") + 1] for name in names]
    distinct = sorted(set(folders))
    # Sorted, so that the contents of a folder directly follow it.
    nested = any(below.startswith(above) for above, below in itertools.pairwise(distinct))
    class_names = tuple(sorted({_own_name(folder) for folder in distinct}, key=natural_key))
    if nested or len(class_names) < 2:
        return FileLabels()
    numbers = {name: number for number, name in enumerate(class_names)}
    return FileLabels(class_names, labels=[numbers[_own_name(folder)] for folder in folders])


def natural_key(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a key for natural sorting: "2" before "10". Numbers of any length are compared by their digits."""
    parts = re.split(r"(\d+)", text.casefold())
    key = [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)]
    return key, text


def _own_name(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def labels_from_list(content: bytes, names: Sequence[str], where: str) -> FileLabels | None:
    """Label pictures by a ``dataset.json``: ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none.

    A list of numbers in place of a class is a condition vector.

    Returns None if the file has no ``labels``; raises `DataError` unless each picture has one valid label.
    """
    try:
        listed = parse_json(content)
    except ValueError as error:
        raise DataError(f"{where}: invalid JSON: {reason_of(error)}", "repair it, or rename it") from error
    if not isinstance(listed, dict) or "labels" not in listed:
        return None
    if listed["labels"] is None:
        return FileLabels()
    labels: dict[Any, Any] = {}
    try:
        for name, label in listed["labels"]:
            if name in labels and labels[name] != label:
                raise DataError(f"{where}: '{short(printable(str(name)))}' has two labels", "give each picture one")
            labels[name] = label
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{where}: 'labels' must be null or a list of [name, class number]") from None
    if any(isinstance(labels.get(name), list) for name in names):
        return _vectors_of(labels, names, where)
    for name in names:
        label = labels.get(name)
        if type(label) is not int or not 0 <= label < len(names):
            raise DataError(
                f"{where}: the label of '{short(printable(name))}' is {_short(label)}",
                "every picture needs a class number, starting at 0",
            )
    numbers = [labels[name] for name in names]
    return FileLabels(tuple(map(str, range(max(numbers) + 1))), labels=numbers)


def _vectors_of(labels: Mapping[Any, Any], names: Sequence[str], where: str) -> FileLabels:
    vectors: list[NDArray[np.float32]] = []
    for name in names:
        label = labels.get(name)
        is_vector = isinstance(label, list) and all(type(each) in (int, float) for each in label)
        if not is_vector or not label or (vectors and len(label) != len(vectors[0])):
            wanted = len(vectors[0]) if vectors else "some"
            raise DataError(
                f"{where}: the label of '{short(printable(name))}' is no list of {wanted} numbers",
                "give each picture a vector of the same length",
            )
        vectors.append(check_vector(np.array(label, np.float64), where))
    return FileLabels(number_names=tuple(map(str, range(len(vectors[0])))), labels=np.stack(vectors))


def _short(label: Any) -> str:
    return short(repr(label), 40) if isinstance(label, str | float | int | None) else f"a {type(label).__name__}"
