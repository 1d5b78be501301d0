"""Condition vectors of pictures from a ``metadata.csv`` or ``metadata.parquet`` beside them, as Hugging Face's
imagefolder reads them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

import numpy as np

from ganforge.contract.errors import DataError
from ganforge.data.classes import FileLabels
from ganforge.data.parquet import read_parquet
from ganforge.data.text import printable, reason_of, short

NAME_COLUMN = "file_name"
"""Column with the name of the picture, relative to the folder of the table."""

_GREATEST = float(np.finfo(np.float32).max)
_WORDS = {"true": 1.0, "false": 0.0}


def vectors_from_csv(content: bytes, names: Sequence[str], where: str) -> FileLabels | None:
    """Return the condition vectors of pictures from a CSV file; see `_read_table`."""
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where}: invalid CSV: {reason_of(error)}", "repair it, or rename it") from error
    return _read_table(rows, names, where)


def vectors_from_parquet(content: bytes, names: Sequence[str], where: str) -> FileLabels | None:
    """Return the condition vectors of pictures from a Parquet file; see `_read_table`."""
    header, rows, ignored = read_parquet(content, NAME_COLUMN, where)
    return _read_table([header, *rows], names, where, ignored)


def _read_table(
    rows: Sequence[Sequence[str]], names: Sequence[str], where: str, ignored: Sequence[str] = ()
) -> FileLabels | None:
    """Return the condition vectors of pictures: each column of numbers is one number, under the column's title.

    The first row is the header. Columns of text are ignored, with a note, as those in `ignored` are. Returns no vectors
    with a note if nothing remains.

    Raises:
        DataError: The table is invalid, a picture has no row, or a column has numbers for some pictures only.
    """
    header = [title.strip() for title in rows[0]] if rows else []
    if NAME_COLUMN not in header:
        return FileLabels(note=f"{where} is ignored: it has no column {NAME_COLUMN}")
    place = header.index(NAME_COLUMN)
    found: dict[str, Sequence[str]] = {}
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
    without = [*ignored]
    for index, title in enumerate(header):
        if index == place:
            continue
        values = [_read(found[name][index]) for name in names]
        if all(value is None for value in values):
            without.append(title)
        elif title in columns:
            raise DataError(f"{where}: two columns are named '{short(printable(title))}'", "rename one of them")
        else:
            columns[title] = [_require(value, title, name, where) for name, value in zip(names, values, strict=True)]
    words = ", ".join(f"'{short(printable(title), 40)}'" for title in without)
    note = f"{where}: columns without numbers are ignored: {short(words)}" if without else ""
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
