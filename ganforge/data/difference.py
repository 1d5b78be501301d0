"""Comparison of data with those of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.data.store import PackedData
from ganforge.data.text import printable

_MOST_NAMED = 3


def describe_difference(recorded: Mapping[str, Any], data: PackedData) -> str:
    """Describe in a line how data differ from a generator's card, fingerprints last; empty if they are equal."""
    if recorded.get("fingerprint") == data.fingerprint:
        return ""
    count, differences = recorded.get("num_examples"), []
    if isinstance(count, int) and count != len(data):
        left_out = f", since {len(data.left_out)} cannot be read and are left out" if data.left_out else ""
        differences.append(f"{len(data)} examples instead of {count}{left_out}")
    for name, then, now in (
        ("examples", recorded.get("shape"), data.spec.shape),
        ("sources", recorded.get("source_shape", []), data.spec.source_shape),
    ):
        if isinstance(then, list | tuple) and tuple(then) != now:
            differences.append(f"{name} {list(now)} instead of {list(then)}")
    if classes := _compare_classes(recorded.get("class_names"), data):
        differences.append(classes)
    numbers = [each.get("name") for each in recorded.get("numbers") or () if isinstance(each, Mapping)]
    if numbers != list(data.number_names):
        differences.append(f"{len(data.number_names) or 'no'} numbers in condition vectors instead of {len(numbers)}")
    if not differences:
        counted = "as many examples" if isinstance(count, int) else "examples"
        differences = [f"{counted} of the same shape and classes, but different or in another order"]
    fingerprint = printable(str(recorded.get("fingerprint"))[:12])
    return "; ".join([*differences, f"fingerprint {data.fingerprint[:12]} instead of {fingerprint}"])


def _compare_classes(recorded: Any, data: PackedData) -> str:
    if not isinstance(recorded, list | tuple) or tuple(recorded) == data.class_names:
        return ""
    if not recorded or not data.class_names:
        return f"{len(data.class_names) or 'no'} classes instead of {len(recorded) or 'none'}"
    removed = [name for name in map(str, recorded) if name not in data.class_names]
    new = [name for name in data.class_names if name not in recorded]
    if not removed and not new:
        return "the same classes in another order"
    found = (("removed", removed), ("new", new))
    return ", ".join(f"{word} classes: {_list(names)}" for word, names in found if names)


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else shown
