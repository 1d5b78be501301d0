"""Validation of generators for exploration, with hints on suitable recipes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.plugins.registry import Registry
from ganforge.sampling import can_truncate, refuse_sources


def require_images(data: DataSpec) -> None:
    """Raise `OptionError` unless a generator makes images from latents alone."""
    refuse_sources(data, "exploring")
    if not data.is_image:
        raise OptionError(
            f"this generator makes vectors of {data.shape[0]} numbers, not images",
            "use ganforge sample, which writes vectors as .npy",
        )


def require_styles(generator: Generator, registry: Registry | None = None) -> StyleGenerator:
    """Return a generator if it has styles; else raise `OptionError` with recipes of the registry as a hint."""
    if isinstance(generator, StyleGenerator):
        return generator
    has = recipes_with(registry, lambda made_by: issubclass(made_by, StyleGenerator))
    raise OptionError(f"{type(generator).__name__} has no styles: it is not a StyleGenerator", _hint(has))


def require_truncation(generator: Generator, registry: Registry | None = None) -> None:
    """Raise `OptionError` unless a generator supports truncation; the hint names recipes of the registry."""
    if not can_truncate(generator):
        has = recipes_with(registry, lambda made_by: "truncation" in inspect.signature(made_by.forward).parameters)
        name = type(generator).__name__
        raise OptionError(f"{name} does not support truncation: its forward has no such argument", _hint(has))


def recipes_with(registry: Registry | None, test: Callable[[type[Any]], bool]) -> list[str]:
    """Return the sorted names of recipes whose generator class passes a test."""
    parts = registry.parts() if registry else []
    classes = {part.name: part.factory for part in parts if part.kind == "generator" and isinstance(part.factory, type)}
    named = {
        part.name: part.factory.settings.get("generator", {}).get("name") for part in parts if part.kind == "recipe"
    }
    return sorted(recipe for recipe, name in named.items() if name in classes and test(classes[name]))


def _hint(recipes: list[str]) -> str:
    return f"train one that does: --arch {' or '.join(recipes)}" if recipes else "no recipe has a suitable generator"
