"""Examples that cannot be read: the first one is an error, or a few are left out, counted and named."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ganforge.contract.errors import DataError
from ganforge.data.text import short

ONE_IN = 10
"""At most one example in so many is left out; if more cannot be read, something else is wrong."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class _Bad:
    """One of them: what to call it, why it cannot be read, and its class if that is known."""

    name: str
    reason: str
    label: int | None


class BadExamples:
    """Which examples of a data set cannot be read; several threads may add to them.

    Args:
        title: What to call the data set in an error.
        most: So many may be left out; None to bear none.
        count: Examples of the data set, readable or not.
    """

    def __init__(self, title: str, count: int, most: int | None) -> None:
        self._title = title
        self._count = count
        self._most = most
        self._found: dict[int, _Bad] = {}
        self._lock = threading.Lock()

    def __contains__(self, index: int) -> bool:
        return index in self._found

    def __len__(self) -> int:
        return len(self._found)

    def add(self, index: int, name: str, where: str, error: DataError, label: int | None = None) -> None:
        """Leave an example out.

        Args:
            index: Which.
            name: What to call it within the data set.
            where: What its error calls it.
            error: Why it cannot be read.
            label: Its class, if that is known.

        Raises:
            DataError: Nothing may be left out, or not as much.
        """
        if self._most is None:
            raise refusal(error)
        with self._lock:
            self._found[index] = _Bad(name, error.message.removeprefix(where).lstrip(": "), label)
            if len(self) > self._most:
                raise too_many(self._title, f"more than {self._most}", self._count, self.reasons())

    def reasons(self) -> dict[str, str]:
        """Why each of them cannot be read, by name, in the order of the data set."""
        return {bad.name: bad.reason for _, bad in sorted(self._found.items())}

    def check_classes(self, labels: Collection[int | None], class_names: tuple[str, ...]) -> None:
        """See to it that every class still has an example.

        Args:
            labels: Of the examples that are left.
            class_names: In the order of the labels; empty if classes have no names.

        Raises:
            DataError: A class lost all it had.
        """
        left = set(labels)
        for _, bad in sorted(self._found.items()):
            if bad.label is not None and bad.label not in left:
                name = class_names[bad.label] if bad.label < len(class_names) else bad.label
                raise DataError(
                    f"{self._title}: class '{short(str(name))}' would be empty, as none of its examples can be read, "
                    f"such as {short(bad.name)}: {bad.reason}",
                    "mend one of them, or take the class away",
                )


def may_be_left_out(count: int) -> int:
    """How many of `count` examples may be left out."""
    return count // ONE_IN


def refusal(error: DataError) -> DataError:
    """The error for an example that may not be left out, with what could be done about it."""
    ways = (
        error.hint or "mend or remove it",
        "`ganforge data check` lists all such files",
        "train and data pack leave them out with --skip-bad",
    )
    return DataError(error.message, "; ".join(ways))


def too_many(title: str, found: str, count: int, reasons: Mapping[str, str]) -> DataError:
    """The error for a data set of which more is bad than may be left out."""
    name, reason = next(iter(reasons.items()))
    return DataError(
        f"{title}: {found} of {count} cannot be read, such as {short(name)}: {reason}",
        f"--skip-bad leaves out one in {ONE_IN} at most, so mend or replace them; `ganforge data check` lists all",
    )


def describe_left_out(reasons: Mapping[str, str], count: int) -> str:
    """What was left out of `count` examples, one line each, not too many; empty if nothing was."""
    if not reasons:
        return ""
    lines = [f"left out {len(reasons)} of {count} examples, which cannot be read:"]
    lines += [f"  {short(name)}: {reason}" for name, reason in list(reasons.items())[:_MOST_NAMED]]
    if len(reasons) > _MOST_NAMED:
        lines.append(f"  and {len(reasons) - _MOST_NAMED} more; `ganforge data check` lists all")
    return "\n".join(lines)
