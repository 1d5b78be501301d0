"""Fitting a recipe to the data, and saying what was chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ganforge.config.schema import RunConfig, merge_recipe, resolve
from ganforge.contract.parts import Situation
from ganforge.data.advice import FEW
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry

_PART_FLAGS = {"regularizers": "--reg", "augmentations": "--augment"}


def fit_recipe(registry: Registry, layers: Sequence[Mapping[str, Any]], data: PackedData) -> tuple[RunConfig, str]:
    """Resolve a configuration for these data; return it and the flags that were chosen for few examples, if any."""
    situations: tuple[Situation, ...] = ("few",) if len(data) < FEW and data.sources is None else ()
    before, after = (merge_recipe(registry, *layers, situations=each)[1] for each in ((), situations))
    flags = " ".join(_flags(before, after))
    return resolve(registry, *layers, situations=situations), f"for {len(data):,} examples: {flags}" if flags else ""


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
