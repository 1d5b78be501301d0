"""Fitting a recipe to the data and the device, and saying what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganforge.config.schema import RunConfig, merge_recipe, resolve
from ganforge.contract.parts import Situation
from ganforge.data.advice import FEW
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry

_PART_FLAGS = {"regularizers": "--reg", "augmentations": "--augment"}

PER_CLASS = 100
"""Mean number of examples of a class for which a recipe trains with classes."""


def find_situations(data: PackedData) -> dict[Situation, str]:
    """Return the situations of a run on these data, each in words."""
    count, classes = len(data), data.spec.num_classes
    found: dict[Situation, str] = {}
    if classes >= 2 and count >= PER_CLASS * classes:
        found["classes"] = f"{classes} classes"
    if count < FEW and data.sources is None:
        found["few"] = f"{count:,} examples"
    return found


def fit_recipe(
    registry: Registry, layers: Sequence[Mapping[str, Any]], data: PackedData
) -> tuple[RunConfig, list[str]]:
    """Resolve a configuration with the variants of its recipe for these data; return it and a line per variant."""
    found = find_situations(data)
    lines = []
    used: list[Situation] = []
    for situation, words in found.items():
        before, after = (merge_recipe(registry, *layers, situations=each)[1] for each in (used, [*used, situation]))
        used.append(situation)
        if changed := " ".join(_flags(before, after)):
            lines.append(f"for {words}: {changed}")
    return resolve(registry, *layers, situations=used), lines


def _flags(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield flags for the options of `after` that differ from `before`."""
    for section, settings in after.items():
        known = before.get(section, {})
        for name, value in settings.items() if isinstance(settings, Mapping) else ():
            if known.get(name) == value:
                continue
            if section in _PART_FLAGS:
                options = ",".join(f"{key}={each}" for key, each in value.items())
                yield f"{_PART_FLAGS[section]} {name}{':' * bool(options)}{options}"
            else:
                yield f"--set {section}.{name}={value}"
