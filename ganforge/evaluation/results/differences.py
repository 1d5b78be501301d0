"""Differences between protocols."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Field (nested names joined by dots) that differs: values by label, and labels without the field."""

    field: str
    values: Mapping[str, Any]
    absent: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line, such as ``num_samples is 50000 for A and B, 10000 for C``."""
        groups: dict[str, list[str]] = {}
        for label, value in self.values.items():
            groups.setdefault(_show(value), []).append(label)
        texts = [f"{value} for {join(labels)}" for value, labels in groups.items()]
        if self.absent:
            texts.append(f"absent for {join(self.absent)}")
        return f"{self.field} is {', '.join(texts)}"


def find_differences(sides: Mapping[str, Mapping[str, Any]], prefix: str = "") -> list[Difference]:
    """Return the fields that differ between mappings, in order; `prefix` precedes their names."""
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
    """Join names, such as ``A, B and C``."""
    *others, last = labels
    return f"{', '.join(others)} and {last}" if others else last


def _show(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value
