"""Classes of pictures: from the folders they lie in, or from the list beside them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

from ganforge.contract.errors import DataError
from ganforge.core.json_schema import parse_json
from ganforge.data.text import printable, reason_of, short

Classes = tuple[tuple[str, ...], list[int] | None]
"""Class names, and one label for each picture; ``((), None)`` for unlabelled pictures."""


def classes_from_folders(names: Sequence[str]) -> Classes:
    """Class pictures by the name of the folder they lie in.

    There are classes if at least two folders of different names hold pictures and none of these lies within another;
    a folder of pictures that also holds folders of pictures is a collection, not a class.

    Args:
        names: Relative names of pictures, with ``/`` between folders.
    """
    folders = [name[: name.rfind("/") + 1] for name in names]
    distinct = sorted(set(folders))
    # In this order whatever lies within a folder comes right behind it, so that neighbours tell.
    nested = any(below.startswith(above) for above, below in itertools.pairwise(distinct))
    class_names = tuple(sorted({_own_name(folder) for folder in distinct}, key=natural))
    if nested or len(class_names) < 2:
        return (), None
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_names, [numbers[_own_name(folder)] for folder in folders]


def natural(text: str) -> tuple[list[str | tuple[int, str]], str]:
    """A key that sorts "2" before "10"; a number is compared by its digits, since a name may have thousands of them."""
    parts = re.split(r"(\d+)", text.casefold())
    key = [(len(part.lstrip("0")), part.lstrip("0")) if index % 2 else part for index, part in enumerate(parts)]
    return key, text


def _own_name(folder: str) -> str:
    """The name of a folder ``a/b/``, without those it lies in."""
    return folder.rstrip("/").rpartition("/")[2]


def classes_from_list(content: bytes, names: Sequence[str], where: str) -> Classes | None:
    """Class pictures by a ``dataset.json``: ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none.

    Args:
        content: The file.
        names: Relative names of all pictures.
        where: What to call the file in an error.

    Returns:
        None if the file is of another kind.

    Raises:
        DataError: It is no JSON; or a picture has no label, two, or one that is no class number.
    """
    try:
        listed = parse_json(content)
    except ValueError as error:
        raise DataError(
            f"{where}: is no whole JSON: {reason_of(error)}", "mend it, or call it by another name"
        ) from error
    if not isinstance(listed, dict) or "labels" not in listed:
        return None
    if listed["labels"] is None:
        return (), None
    labels: dict[Any, Any] = {}
    try:
        for name, label in listed["labels"]:
            if name in labels and labels[name] != label:
                raise DataError(f"{where}: '{short(printable(str(name)))}' has two labels", "give every picture one")
            labels[name] = label
    except (TypeError, ValueError, RecursionError):
        raise DataError(f"{where}: 'labels' must be null or a list of [name, class number]") from None
    for name in names:
        label = labels.get(name)
        if type(label) is not int or not 0 <= label < len(names):
            raise DataError(
                f"{where}: the label of '{short(printable(name))}' is {_short(label)}",
                "every picture needs a class number, counted from 0",
            )
    numbers = [labels[name] for name in names]
    return tuple(map(str, range(max(numbers) + 1))), numbers


def _short(label: Any) -> str:
    return short(repr(label), 40) if isinstance(label, str | float | int | None) else f"a {type(label).__name__}"
