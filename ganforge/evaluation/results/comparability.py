"""Which evaluations can be compared with which, and what the comparison says.

Values of one and the same model differ by more than models do if images are resized, split or counted otherwise, so two
values are set side by side only if their protocols are equal; else the fields that differ are named.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.contract.errors import OptionError, nearest
from ganforge.evaluation.results.result import Better, Evaluation

SMALL_GAP = 0.02
"""Share of a value by which runs differ that have nothing but another seed."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Something that is compared.

    Attributes:
        label: What to call it.
        name: As the user named it.
        rows: Its evaluations, oldest first.
        stale: Evaluations of weights that it no longer has.
        images_seen: Images that its weights were trained on; None where that is not known.
    """

    label: str
    name: str
    rows: Sequence[Evaluation]
    stale: Sequence[Evaluation] = ()
    images_seen: int | None = None


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A field that is not the same everywhere.

    Attributes:
        field: Its name; fields of fields are joined by dots.
        values: By label; who has no such field is not in here.
        absent: Labels of those.
    """

    field: str
    values: Mapping[str, Any]
    absent: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line, such as ``num_samples is 50000 for A and B, 10000 for C``."""
        groups: list[tuple[str, list[str]]] = []
        for label, value in self.values.items():
            known = next((labels for first, labels in groups if first == _show(value)), None)
            if known is None:
                groups.append((_show(value), [label]))
            else:
                known.append(label)
        if self.absent:
            groups.append(("absent", [*self.absent]))
        return f"{self.field} is {', '.join(f'{value} for {join(labels)}' for value, labels in groups)}"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A metric that all were evaluated by under one protocol.

    Attributes:
        metric: Its name.
        rows: The newest evaluation of each under that protocol, by label.
        best: Who is best beyond doubt; None where that cannot be said.
        tied: Those whose intervals overlap with that of the best value; empty where there is a best, or where an
            interval, an order or a value is missing.
    """

    metric: str
    rows: Mapping[str, Evaluation]
    best: str | None = None
    tied: tuple[str, ...] = ()

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What all rows share."""
        return next(iter(self.rows.values())).protocol

    @property
    def better(self) -> Better | None:
        """Which way is better; None where neither is."""
        return next(iter(self.rows.values())).better

    @property
    def verdict(self) -> str:
        """The best, or that none can be told; empty where nothing is to be said."""
        if self.best is not None:
            return self.best
        if not self.tied:
            return ""
        some = "" if len(self.tied) == len(self.rows) else f"{join(self.tied)}: "
        return f"{some}no difference can be told"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A metric that all were evaluated by, but by no common protocol.

    Attributes:
        metric: Its name.
        differences: Between the protocols of the newest evaluations.
    """

    metric: str
    differences: tuple[Difference, ...]

    def describe(self) -> str:
        """One line."""
        return f"{self.metric}: {'; '.join(each.describe() for each in self.differences)}"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What can be compared, and what not.

    Attributes:
        compared: At least one metric.
        refused: Metrics without a common protocol.
        notes: What else must be known, in sentences.
    """

    compared: tuple[Compared, ...]
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()


def agree(contenders: Sequence[Contender], metrics: Sequence[str] = ()) -> Agreement:
    """Find for every metric the newest evaluations that can be compared.

    Args:
        contenders: Two or more, with labels of their own.
        metrics: Names of metrics; all if empty.

    Raises:
        OptionError: None was evaluated by such a metric, or nothing can be compared.
    """
    known = list(dict.fromkeys(row.metric for each in contenders for row in (*each.rows, *each.stale)))
    for name in metrics:
        if name not in known:
            raise OptionError(f"--metric {name}: none of them was evaluated by it", nearest(name, known))
    wanted = [name for name in known if name in metrics or not metrics]
    compared, refused, lacking = [], [], []
    for metric in wanted:
        rows = {each.label: [row for row in each.rows if row.metric == metric] for each in contenders}
        missing = [label for label, own in rows.items() if not own]
        if missing:
            lacking += [f"{metric} for {join(missing)}"] if len(missing) < len(contenders) else []
        elif shared := find_shared(rows):
            compared.append(judge(metric, shared))
        else:
            protocols = {label: _newest(own).protocol for label, own in rows.items()}
            refused.append(Refused(metric=metric, differences=tuple(find_differences(protocols))))
    stale = [note for each in contenders for note in _tell_stale(each, wanted)]
    if not compared:
        raise _nothing(contenders, wanted, refused, stale)
    notes = [f"not evaluated: {'; '.join(lacking)}"] if lacking else []
    notes += [f"{note}; evaluate it again" for note in stale]
    notes += _tell_circumstances(compared)
    notes += dict.fromkeys(note for each in compared for row in each.rows.values() for note in row.notes)
    return Agreement(compared=tuple(compared), refused=tuple(refused), notes=(*notes, _tell_gaps(compared)))


def separate(rows: Iterable[Evaluation], digest: str) -> tuple[list[Evaluation], list[Evaluation]]:
    """Evaluations of the weights of that digest, and those of others."""
    present: list[Evaluation] = []
    others: list[Evaluation] = []
    for row in rows:
        (present if row.subject.get("digest") == digest else others).append(row)
    return present, others


def find_shared(rows: Mapping[str, Sequence[Evaluation]]) -> dict[str, Evaluation] | None:
    """The newest evaluation of each under a protocol that all have; of several such, under that of the newest of all.

    Args:
        rows: Evaluations by one metric, oldest first, by label.

    Returns:
        By label; None if there is no such protocol.
    """

    def under(protocol: Mapping[str, Any], own: Sequence[Evaluation]) -> list[Evaluation]:
        return [row for row in own if row.protocol == protocol]

    every = [row for own in rows.values() for row in own]
    shared = [row for row in every if all(under(row.protocol, own) for own in rows.values())]
    if not shared:
        return None
    protocol = _newest(shared).protocol
    return {label: _newest(under(protocol, own)) for label, own in rows.items()}


def judge(metric: str, rows: Mapping[str, Evaluation]) -> Compared:
    """Say who is best, by values and their intervals."""
    order = _rank(rows)
    if order is None or any(row.interval is None for row in rows.values()):
        return Compared(metric=metric, rows=rows)
    top = [label for label in order if _overlap(rows[order[0]], rows[label])]
    if len(top) == 1:
        return Compared(metric=metric, rows=rows, best=top[0])
    return Compared(metric=metric, rows=rows, tied=tuple(top))


def find_differences(sides: Mapping[str, Mapping[str, Any]], prefix: str = "") -> list[Difference]:
    """Fields that are not the same on all sides, in the order of the fields.

    Args:
        sides: By label.
        prefix: Of the names of fields.
    """
    found: list[Difference] = []
    for name in dict.fromkeys(name for side in sides.values() for name in side):
        values = {label: side[name] for label, side in sides.items() if name in side}
        absent = tuple(label for label in sides if label not in values)
        if not absent and all(isinstance(value, Mapping) for value in values.values()):
            found += find_differences(values, f"{prefix}{name}.")
        elif absent or any(value != next(iter(values.values())) for value in values.values()):
            found.append(Difference(field=prefix + name, values=values, absent=absent))
    return found


def join(labels: Sequence[str]) -> str:
    """Names in words, such as ``A, B and C``."""
    *others, last = labels
    return f"{', '.join(others)} and {last}" if others else last


def _newest(rows: Sequence[Evaluation]) -> Evaluation:
    """By its date, ISO 8601 in UTC; of one second, the last."""
    return max(reversed(rows), key=lambda row: str(row.circumstances.get("date", "")))


def _rank(rows: Mapping[str, Evaluation]) -> list[str] | None:
    """Labels from the best value to the worst; None where there is no order, or a value is not defined."""
    better = next(iter(rows.values())).better
    values = {label: row.value for label, row in rows.items() if row.value is not None}
    if better is None or len(values) < len(rows):
        return None
    return sorted(values, key=values.__getitem__, reverse=better == "higher")


def _overlap(one: Evaluation, other: Evaluation) -> bool:
    assert one.interval is not None
    assert other.interval is not None
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high


def _show(value: Any) -> str:
    """A value for reading: of a digest its first 8 digits."""
    if not isinstance(value, str):
        return json.dumps(value)
    return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value


def _tell_stale(contender: Contender, wanted: Sequence[str]) -> list[str]:
    """A sentence for every state in which it was evaluated as it has not been since."""
    again = [(row.metric, row.protocol) for row in contender.rows]
    missed: dict[int | None, dict[str, None]] = {}
    for row in contender.stale:
        if row.metric in wanted and (row.metric, row.protocol) not in again:
            missed.setdefault(row.subject.get("images_seen"), {})[row.metric] = None
    found = []
    for before, metrics in missed.items():
        state = "with other weights than it has now"
        if None not in (before, contender.images_seen) and before != contender.images_seen:
            state = f"after {before:,} images, it has seen {contender.images_seen:,} now"
        found.append(f"{contender.label}: {join([*metrics])} evaluated {state}")
    return found


def _tell_circumstances(compared: Sequence[Compared]) -> list[str]:
    """A sentence if devices or versions differ."""
    found: dict[str, None] = {}
    for each in compared:
        sides = {
            label: {name: row.circumstances.get(name) for name in ("device", "versions")}
            for label, row in each.rows.items()
        }
        found |= dict.fromkeys(difference.describe() for difference in find_differences(sides))
    return [f"computed in unlike circumstances: {'; '.join(found)}"] if found else []


def _tell_gaps(compared: Sequence[Compared]) -> str:
    """What a gap means, with the metrics whose best is as near to the next as that."""
    near = []
    for each in compared:
        order = _rank(each.rows)
        if each.best is None or order is None:
            continue
        first, second = (each.rows[label].value for label in order[:2])
        assert first is not None
        assert second is not None
        if abs(second - first) < SMALL_GAP * abs(first):
            near.append(f"{each.metric}'s is {abs(second - first) / abs(first):.1%}")
    return (
        "a gap smaller than a percent or two is what another training seed alone brings, and no interval knows of it"
        + (f" ({join(near)})" if near else "")
    )


def _nothing(
    contenders: Sequence[Contender], wanted: Sequence[str], refused: Sequence[Refused], stale: Sequence[str]
) -> OptionError:
    reasons = [each.describe() for each in refused]
    if not refused:
        had = {
            each.label: dict.fromkeys(row.metric for row in each.rows if row.metric in wanted) for each in contenders
        }
        those = ", ".join(f"{label} has {join([*metrics]) if metrics else 'none'}" for label, metrics in had.items())
        reasons.append(f"no metric was evaluated for all of them: {those}")
    weights = {row.subject.get("weights") for each in contenders for row in each.rows}
    fields = {difference.field for each in refused for difference in each.differences}
    options = [
        *(["--data SET"] if fields & {"data_fingerprint", "holdout", "references"} else []),
        *(["--raw"] if weights == {"raw"} else []),
    ]
    names = shlex.join(each.name for each in contenders)
    return OptionError(
        f"nothing can be compared: {'; '.join([*reasons, *stale])}",
        f"evaluate them with equal options: {' '.join(['ganforge eval', names, '--fid', *options, '...'])}",
    )
