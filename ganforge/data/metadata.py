"""Condition vectors of pictures from a ``metadata.csv`` beside them, as Hugging Face's imagefolder reads it."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from ganforge.contract.errors import DataError
from ganforge.data.classes import FileLabels
from ganforge.data.text import printable, reason_of, short

NAME_COLUMN = "file_name"
"""Column with the name of the picture, relative to the folder of the table."""

_GREATEST = float(np.finfo(np.float32).max)
_WORDS = {"true": 1.0, "false": 0.0}


def vectors_from_table(content: bytes, names: Sequence[str], where: str) -> FileLabels | None:
    """Return the condition vectors of pictures: each column of numbers is one number, under the column's title.

    Columns of text are ignored, with a note. Returns None, or no vectors with a note, if nothing remains.

    Raises:
        DataError: The table is invalid, a picture has no row, or a column has numbers for some pictures only.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: invalid CSV: {reason_of(error)}", "repair it, or rename it") from error
    header = [title.strip() for title in rows[0]] if rows else []
    if NAME_COLUMN not in header:
        return FileLabels(note=f"{where} is ignored: it has no column {NAME_COLUMN}")
    place = header.index(NAME_COLUMN)
    found: dict[str, list[str]] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(header):
            raise DataError(f"{where}, row {number}: {len(row)} columns, the header has {len(header)}", "repair it")
        name = row[place].strip().removeprefix("./")
        if found.setdefault(name, row) != row:
            raise DataError(f"{where}: '{short(printable(name))}' has two rows", "give each picture one")
    lost = next((name for name in names if name not in found), None)
    if lost is not None:
        raise DataError(f"{where}: no row for '{short(printable(lost))}'", "every picture needs a row")
    columns: dict[str, list[float]] = {}
    ignored = []
    for index, title in enumerate(header):
        if index == place:
            continue
        values = [_read(found[name][index]) for name in names]
        if all(value is None for value in values):
            ignored.append(title)
        elif title in columns:
            raise DataError(f"{where}: two columns are named '{short(printable(title))}'", "rename one of them")
        else:
            columns[title] = [_require(value, title, name, where) for name, value in zip(names, values, strict=True)]
    words = ", ".join(f"'{short(printable(title), 40)}'" for title in ignored)
    note = f"{where}: columns without numbers are ignored: {short(words)}" if ignored else ""
    if not columns:
        return FileLabels(note=note)
    vectors = np.array(list(columns.values()), np.float32).T
    return FileLabels(number_names=tuple(columns), labels=np.ascontiguousarray(vectors), note=note)


def _read(text: str) -> float | None:
    """Return the number in a cell; None for other text."""
    text = text.strip()
    try:
        return _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    except ValueError:
        return None


def _require(value: float | None, title: str, name: str, where: str) -> float:
    if value is None or not math.isfinite(value) or abs(value) > _GREATEST:
        raise DataError(
            f"{where}: column '{short(printable(title))}' has no finite number for '{short(printable(name))}'",
            "give each picture one, or remove the column",
        )
    return value
