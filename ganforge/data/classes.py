"""Class labels of pictures: from their folders, or from a ``dataset.json``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from ganforge.contract.errors import DataError
from ganforge.core.json_schema import parse_json
from ganforge.data.text import printable, reason_of, short

Classes = tuple[tuple[str, ...], list[int] | None]
"""Class names and a label per picture; ``((), None)`` for unlabeled pictures."""


def classes_from_folders(names: Sequence[str]) -> Classes:
    """Label pictures by their folder, given relative names with ``/`` between folders.

    Labels require at least two folders of different names that hold pictures, none of them nested in another.
    """
    folders = [name[: name.rfind("/") + 1] for name in names]
    distinct = sorted(set(folders))
    # Sorted, so that the contents of a folder directly follow it.
    nested = any(below.startswith(above) for above, below in itertools.pairwise(distinct))
    class_names = tuple(sorted({_own_name(folder) for folder in distinct}, key=natural_key))
    if nested or len(class_names) < 2:
        return (), None
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_names, [numbers[_own_name(folder)] for folder in folders]


def natural_key(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """Return a key for natural sorting: "2" before "10". Numbers of any length are compared by their digits."""
    parts = re.split(r"(\d+)", text.casefold())
    key = [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)]
    return key, text


def _own_name(folder: str) -> str:
    return folder.rstrip("/").rpartition("/")[2]


def classes_from_list(content: bytes, names: Sequence[str], where: str) -> Classes | None:
    """Label pictures by a ``dataset.json``: ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none.

    Returns None if the file has no ``labels``; raises `DataError` unless each picture has one valid label.
    """
    try:
        listed = parse_json(content)
    except ValueError as error:
        raise DataError(f"{where}: invalid JSON: {reason_of(error)}", "repair it, or rename it") from error
    if not isinstance(listed, dict) or "labels" not in listed:
        return None
    if listed["labels"] is None:
        return (), None
    labels: dict[Any, Any] = {}
    try:
        for name, label in listed["labels"]:
            if name in labels and labels[name] != label:
                raise DataError(f"{where}: '{short(printable(str(name)))}' has two labels", "give each picture one")
            labels[name] = label
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{where}: 'labels' must be null or a list of [name, class number]") from None
    for name in names:
        label = labels.get(name)
        if type(label) is not int or not 0 <= label < len(names):
            raise DataError(
                f"{where}: the label of '{short(printable(name))}' is {_short(label)}",
                "every picture needs a class number, starting at 0",
            )
    numbers = [labels[name] for name in names]
    return tuple(map(str, range(max(numbers) + 1))), numbers


def _short(label: Any) -> str:
    return short(repr(label), 40) if isinstance(label, str | float | int | None) else f"a {type(label).__name__}"
