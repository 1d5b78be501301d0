"""Unreadable examples: an error by default, or skipped up to a limit."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

from ganforge.contract.errors import DataError
from ganforge.data.text import short

ONE_IN = 10  # at most one in this many examples is skipped

_MOST_NAMED = 5


class BadExamples:
    """Unreadable examples of a data set, up to a maximum number; None raises an error for the first. Thread-safe."""

    def __init__(self, title: str, count: int, most: int | None) -> None:
        self._title = title
        self._count = count
        self._limit = most
        self._found: dict[int, tuple[str, str, int | None]] = {}  # name, reason, label
        self._lock = threading.Lock()

    def __contains__(self, index: int) -> bool:
        return index in self._found

    def __len__(self) -> int:
        return len(self._found)

    def add(self, index: int, name: str, where: str, error: DataError, label: int | None = None) -> None:
        """Skip an example; raise `DataError` if the limit is exceeded. `where` is its name in the error message."""
        if self._limit is None:
            raise skip_error(error)
        with self._lock:
            self._found[index] = (name, error.message.removeprefix(where).lstrip(": "), label)
            if len(self) > self._limit:
                raise too_many(self._title, f"more than {self._limit}", self._count, self.reasons())

    def reasons(self) -> dict[str, str]:
        """Return the errors by name, in the order of the data set."""
        return {name: reason for _, (name, reason, _) in sorted(self._found.items())}

    def check_classes(self, labels: Collection[int | None], class_names: tuple[str, ...]) -> None:
        """Raise `DataError` if a class has no example in the remaining `labels`."""
        left = set(labels)
        for _, (name, reason, label) in sorted(self._found.items()):
            if label is not None and label not in left:
                empty = class_names[label] if label < len(class_names) else label
                raise DataError(
                    f"{self._title}: class '{short(str(empty))}' would be empty: none of its examples can be read, "
                    f"e.g. {short(name)}: {reason}",
                    "repair one of them, or remove the class",
                )


def max_skipped(count: int) -> int:
    """Return the maximum number of skipped examples of `count`."""
    return count // ONE_IN


def skip_error(error: DataError) -> DataError:
    """Return the error for an example that may not be skipped, with a hint on ``--skip-bad``."""
    hint = (
        f"{error.hint or 'repair or remove it'}; `ganforge data check` lists all such files; "
        "train and data pack skip them with --skip-bad"
    )
    return DataError(error.message, hint)


def too_many(title: str, found: str, count: int, reasons: Mapping[str, str]) -> DataError:
    """Return the error for a data set with too many unreadable examples."""
    name, reason = next(iter(reasons.items()))
    return DataError(
        f"{title}: {found} of {count} cannot be read, e.g. {short(name)}: {reason}",
        f"--skip-bad skips at most one in {ONE_IN}, so repair or replace them; `ganforge data check` lists all",
    )


def describe_skipped(reasons: Mapping[str, str], count: int) -> str:
    """Describe skipped examples, one line each; empty if there are none."""
    if not reasons:
        return ""
    lines = [f"skipped {len(reasons)} of {count} examples that cannot be read:"]
    lines += [f"  {short(name)}: {reason}" for name, reason in list(reasons.items())[:_MOST_NAMED]]
    if len(reasons) > _MOST_NAMED:
        lines.append(f"  and {len(reasons) - _MOST_NAMED} more; `ganforge data check` lists all")
    return "\n".join(lines)
