"""Rows of ``metrics.jsonl``: one for each tick and one for each score."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ganforge.contract.errors import CheckpointError
from ganforge.core.atomic_files import read_text
from ganforge.core.json_schema import LONGEST_LINE, NonNegativeInt, Seconds, convert, parse_json

T = TypeVar("T")

MOST_BYTES = 1 << 28
"""Size limit of a ``.jsonl`` file of a run."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of metrics: a tick with its sample grid and health warnings, or scores.

    All other fields are `numbers`: statistics or scores by name, None where non-finite.
    """

    images: NonNegativeInt
    seconds: Seconds = 0.0
    picture: str | None = None
    warnings: list[str] = []
    numbers: dict[str, float | None] = {}

    @property
    def is_tick(self) -> bool:
        """True for a tick, false for scores."""
        return "images_per_second" in self.numbers

    @property
    def metric(self) -> str | None:
        """First metric of a row of scores, which selects the best generator."""
        return next(iter(self.numbers), None)

    def tree(self) -> dict[str, Any]:
        """Row as it is written, without empty fields."""
        rest = {"picture": self.picture, "warnings": self.warnings}
        known = {"images": self.images, "seconds": self.seconds, **self.numbers}
        return known | {name: value for name, value in rest.items() if value}


def best_score(rows: Iterable[Row]) -> tuple[str, Row] | None:
    """Return the metric that selects the best generator, and the row with its lowest value; None without scores."""
    found = [
        (value, number, metric, row)
        for number, row in enumerate(rows)
        if not row.is_tick and (metric := row.metric) and (value := row.numbers[metric]) is not None
    ]
    return min(found)[2:] if found else None


_NUMBER: Any = float | None
"""Type of all fields not named in `Row`."""

_KNOWN = {name for name in Row.__struct_fields__ if name != "numbers"}


def read_row(line: str) -> Row:
    """Validate one row; raise a ValueError that names the invalid field."""
    tree = parse_json(line, null_nan=True)
    if not isinstance(tree, dict):
        return convert(tree, Row)
    numbers = {name: value for name, value in tree.items() if name not in _KNOWN}
    for name, value in numbers.items():
        try:
            convert(value, _NUMBER)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return convert({**{name: tree[name] for name in tree.keys() & _KNOWN}, "numbers": numbers}, Row)


def read_rows(path: Path) -> list[Row]:
    """Read a file of metrics, oldest row first; empty if not found."""
    problems: list[str] = []
    rows = read_lines(path, read_row, problems)
    if problems:
        raise CheckpointError(problems[0], "remove that row")
    return rows


def read_lines(path: Path, read: Callable[[str], T], problems: list[str]) -> list[T]:
    """Read the valid rows of a ``.jsonl`` file, oldest first; empty if not found.

    `read` validates a line or raises ValueError; `problems` receives a message for each invalid row, or for the file.
    """
    try:
        lines = read_text(path, most=MOST_BYTES, follow=False).split("\n")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            if len(line) > LONGEST_LINE:
                raise ValueError(f"it is longer than {LONGEST_LINE} characters")
            if line:
                rows.append(read(line))
        except ValueError as error:
            problems.append(f"{path}, line {number}, is damaged: {error}")
    return rows
