"""Comparability of evaluations: values with equal protocols are compared; otherwise the differing fields are named.

Resizing, splits and sample counts change values of one model by more than models differ.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.metric import Better
from ganforge.evaluation.results.differences import Difference, find_differences, join
from ganforge.evaluation.results.result import Evaluation

SMALL_GAP = 0.02
"""Relative difference between runs that differ only in their seeds."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """Compared subject.

    Attributes:
        label: Short, unique name.
        name: Name that the user gave.
        rows: Evaluations of the current weights, oldest first.
        stale: Evaluations of earlier weights.
        images_seen: Images that the current weights were trained on, or None.
    """

    label: str
    name: str
    rows: Sequence[Evaluation]
    stale: Sequence[Evaluation] = ()
    images_seen: int | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Metric with a common protocol.

    Attributes:
        metric: Name.
        rows: Newest evaluation of each subject under that protocol, by label.
        best: Label of the best value if its interval overlaps with no other, or None.
        tied: Labels whose intervals overlap with the best; empty if there is a `best`, or no order.
    """

    metric: str
    rows: Mapping[str, Evaluation]
    best: str | None = None
    tied: tuple[str, ...] = ()

    @property
    def protocol(self) -> Mapping[str, Any]:
        """Protocol of all rows."""
        return next(iter(self.rows.values())).protocol

    @property
    def better(self) -> Better | None:
        """Direction of improvement, or None."""
        return next(iter(self.rows.values())).better

    @property
    def verdict(self) -> str:
        """Best label, or a sentence about the tie; empty if there is no order."""
        if self.best is not None:
            return self.best
        if not self.tied:
            return ""
        some = "" if len(self.tied) == len(self.rows) else f"{join(self.tied)}: "
        return f"{some}no significant difference"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Metric without a common protocol, with the differences between the newest evaluations."""

    metric: str
    differences: tuple[Difference, ...]

    def describe(self) -> str:
        """Return one line."""
        return f"{self.metric}: {'; '.join(each.describe() for each in self.differences)}"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Result of a comparison: metrics with a common protocol, those without one, and notes in sentences."""

    compared: tuple[Compared, ...]
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()


def agree(contenders: Sequence[Contender], metrics: Sequence[str] = ()) -> Agreement:
    """Find the newest comparable evaluations of each metric, or of some metrics.

    Raises:
        OptionError: A metric was not evaluated, or nothing is comparable.
    """
    known = list(dict.fromkeys(row.metric for each in contenders for row in (*each.rows, *each.stale)))
    for name in metrics:
        if name not in known:
            raise OptionError(f"--metric {name}: no evaluation has this metric", nearest(name, known))
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
    stale = [note for each in contenders for note in _describe_stale(each, wanted)]
    if not compared:
        raise _nothing(contenders, wanted, refused, stale)
    notes = [f"not evaluated: {'; '.join(lacking)}"] if lacking else []
    notes += [f"{note}; evaluate it again" for note in stale]
    notes += _describe_circumstances(compared)
    notes += dict.fromkeys(note for each in compared for row in each.rows.values() for note in row.notes)
    return Agreement(compared=tuple(compared), refused=tuple(refused), notes=(*notes, _describe_gaps(compared)))


def separate(rows: Sequence[Evaluation], digest: str) -> tuple[list[Evaluation], list[Evaluation]]:
    """Split evaluations into those of the weights with a digest, and others."""
    current = [row for row in rows if row.subject.get("digest") == digest]
    return current, [row for row in rows if row.subject.get("digest") != digest]


def find_shared(rows: Mapping[str, Sequence[Evaluation]]) -> dict[str, Evaluation] | None:
    """Return the newest evaluation of each label under the newest common protocol; None if there is none."""
    protocols = [[row.protocol for row in own] for own in rows.values()]
    shared = [row for own in rows.values() for row in own if all(row.protocol in known for known in protocols)]
    if not shared:
        return None
    protocol = _newest(shared).protocol
    return {label: _newest([row for row in own if row.protocol == protocol]) for label, own in rows.items()}


def judge(metric: str, rows: Mapping[str, Evaluation]) -> Compared:
    """Rank subjects by their values and intervals."""
    order = _rank(rows)
    if order is None or any(row.interval is None for row in rows.values()):
        return Compared(metric=metric, rows=rows)
    top = [label for label in order if _overlap(rows[order[0]], rows[label])]
    if len(top) == 1:
        return Compared(metric=metric, rows=rows, best=top[0])
    return Compared(metric=metric, rows=rows, tied=tuple(top))


def _newest(rows: Sequence[Evaluation]) -> Evaluation:
    """Return the row of the latest date; of equal dates, the last."""
    return max(reversed(rows), key=lambda row: str(row.circumstances.get("date", "")))


def _rank(rows: Mapping[str, Evaluation]) -> list[str] | None:
    """Return labels from best to worst; None without an order or with an undefined value."""
    better = next(iter(rows.values())).better
    values = {label: row.value for label, row in rows.items() if row.value is not None}
    if better is None or len(values) < len(rows):
        return None
    return sorted(values, key=values.__getitem__, reverse=better == "higher")


def _overlap(one: Evaluation, other: Evaluation) -> bool:
    assert one.interval is not None
    assert other.interval is not None
    return one.interval.low <= other.interval.high and other.interval.low <= one.interval.high


def _describe_stale(contender: Contender, wanted: Sequence[str]) -> list[str]:
    """Describe each state that has evaluations which the current weights lack."""
    again = [(row.metric, row.protocol) for row in contender.rows]
    missed: dict[int | None, dict[str, None]] = {}
    for row in contender.stale:
        if row.metric in wanted and (row.metric, row.protocol) not in again:
            missed.setdefault(row.subject.get("images_seen"), {})[row.metric] = None
    found = []
    for before, metrics in missed.items():
        state = "with weights other than the current ones"
        if None not in (before, contender.images_seen) and before != contender.images_seen:
            state = f"after {before:,} images; the current weights have seen {contender.images_seen:,}"
        found.append(f"{contender.label}: {join([*metrics])} evaluated {state}")
    return found


def _describe_circumstances(compared: Sequence[Compared]) -> list[str]:
    """Describe differing devices and versions."""
    found: dict[str, None] = {}
    for each in compared:
        sides = {
            label: {name: row.circumstances.get(name) for name in ("device", "versions")}
            for label, row in each.rows.items()
        }
        found |= dict.fromkeys(difference.describe() for difference in find_differences(sides))
    return [f"computed on different devices or versions: {'; '.join(found)}"] if found else []


def _describe_gaps(compared: Sequence[Compared]) -> str:
    """Describe the effect of training seeds, with the metrics whose best two values differ by less."""
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
    return "another training seed alone changes values by a percent or two, which the intervals do not include" + (
        f" ({join(near)})" if near else ""
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
        reasons.append(f"no metric was evaluated for all: {those}")
    weights = {row.subject.get("weights") for each in contenders for row in each.rows}
    fields = {difference.field for each in refused for difference in each.differences}
    options = [
        *(["--data SET"] if fields & {"data_fingerprint", "holdout", "references"} else []),
        *(["--raw"] if weights == {"raw"} else []),
    ]
    names = shlex.join(each.name for each in contenders)
    return OptionError(
        f"evaluations are not comparable: {'; '.join([*reasons, *stale])}",
        f"evaluate with equal options: {' '.join(['ganforge eval', names, '--fid', *options, '...'])}",
    )
