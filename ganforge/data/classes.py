"""Classes of pictures: from the folders they lie in, or from the list beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ganforge.errors import DataError

Classes = tuple[tuple[str, ...], list[int] | None]
"""Class names, and one label for each picture; ``((), None)`` for unlabelled pictures."""


def classes_from_folders(names: Sequence[str]) -> Classes:
    """Class pictures by the name of the folder they lie in.

    There are classes if at least two folders of different names hold pictures and none of these lies within another;
    a folder of pictures that also holds folders of pictures is a collection, not a class.

    Args:
        names: Relative names of pictures, with ``/`` between folders.
    """
    folders = [PurePosixPath(name).parent for name in names]
    distinct = set(folders)
    class_names = tuple(sorted({folder.name for folder in distinct}, key=natural))
    if len(class_names) < 2 or any(above in distinct for folder in distinct for above in folder.parents):
        return (), None
    numbers = {name: number for number, name in enumerate(class_names)}
    return class_names, [numbers[folder.name] for folder in folders]


def natural(text: str) -> tuple[list[str | int], str]:
    """A key that sorts "2" before "10"."""
    parts = re.split(r"(\d+)", text.casefold())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text


def classes_from_list(content: bytes, names: Sequence[str], where: str) -> Classes | None:
    """Class pictures by a ``dataset.json``: ``{"labels": [["00000/img00000000.png", 6], ...]}``, or null for none.

    Args:
        content: The file.
        names: Relative names of all pictures.
        where: What to call the file in an error.

    Returns:
        None if the file is of another kind.

    Raises:
        DataError: A picture has no label, or one that is no class number.
    """
    try:
        listed = json.loads(content)
    except ValueError:
        return None
    if not isinstance(listed, dict) or "labels" not in listed:
        return None
    if listed["labels"] is None:
        return (), None
    try:
        labels = {str(name): label for name, label in listed["labels"]}
    except (TypeError, ValueError):
        raise DataError(f"{where}: 'labels' must be null or a list of [name, class number]") from None
    for name in names:
        label = labels.get(name)
        if type(label) is not int or not 0 <= label < len(names):
            raise DataError(
                f"{where}: the label of {name!r} is {label!r}", "every picture needs a class number, counted from 0"
            )
    numbers = [labels[name] for name in names]
    return tuple(map(str, range(max(numbers) + 1))), numbers
