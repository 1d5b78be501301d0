"""Text of evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from ganforge.evaluation.results.result import Evaluation


def describe_rows(rows: Sequence[Evaluation]) -> str:
    """Return one line per row."""
    return "\n".join(f"{row.metric:36} {describe_value(row)}" for row in rows)


def describe_notes(rows: Sequence[Evaluation]) -> list[str]:
    """Return the notes of all rows without duplicates, one line each."""
    return [f"note: {note}" for note in dict.fromkeys(note for row in rows for note in row.notes)]


def describe_value(row: Evaluation) -> str:
    """Return a value with its interval, such as ``23.41 [23.05, 23.77]``."""
    if row.value is None:
        return "not defined"
    if row.interval is None:
        return f"{row.value:.6g}"
    return f"{row.value:.6g} [{row.interval.low:.4g}, {row.interval.high:.4g}]"
