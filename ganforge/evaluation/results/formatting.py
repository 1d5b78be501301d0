"""Evaluations in words."""

from __future__ import annotations

from collections.abc import Sequence

from ganforge.evaluation.results.result import Evaluation

_WIDTH = 36


def describe_rows(rows: Sequence[Evaluation]) -> str:
    """A line for each number."""
    return "\n".join(f"{row.metric:{_WIDTH}} {describe_value(row)}" for row in rows)


def describe_notes(rows: Sequence[Evaluation]) -> list[str]:
    """What forbids comparing them with others, a line each, said once."""
    return [f"note: {note}" for note in dict.fromkeys(note for row in rows for note in row.notes)]


def describe_value(row: Evaluation) -> str:
    """The number and its interval, such as ``23.41 [23.05, 23.77]``."""
    if row.value is None:
        return "not defined"
    if row.interval is None:
        return f"{row.value:.6g}"
    return f"{row.value:.6g} [{row.interval.low:.4g}, {row.interval.high:.4g}]"
