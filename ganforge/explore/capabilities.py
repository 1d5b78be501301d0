"""What a generator must offer to be explored in a way, and which recipes have one that does."""

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
    """See that a generator makes images of latents.

    Raises:
        OptionError: It makes vectors, or makes images of others.
    """
    refuse_sources(data, "exploring")
    if not data.is_image:
        raise OptionError(
            f"this generator makes vectors of {data.shape[0]} numbers, not images",
            "exploring draws images; ganforge sample writes vectors as .npy",
        )


def require_styles(generator: Generator, registry: Registry | None = None) -> StyleGenerator:
    """The generator, if it has styles.

    Args:
        generator: Any.
        registry: Where recipes are looked up for the hint; None to name none.

    Raises:
        OptionError: It is no `StyleGenerator`.
    """
    if isinstance(generator, StyleGenerator):
        return generator
    has = recipes_with(registry, lambda made_by: issubclass(made_by, StyleGenerator))
    raise OptionError(f"{type(generator).__name__} has no styles: it is no StyleGenerator", _hint(has))


def require_truncation(generator: Generator, registry: Registry | None = None) -> None:
    """See that a generator can be truncated.

    Args:
        generator: Any.
        registry: Where recipes are looked up for the hint; None to name none.

    Raises:
        OptionError: Its ``forward`` takes no ``truncation``.
    """
    if not can_truncate(generator):
        has = recipes_with(registry, lambda made_by: "truncation" in inspect.signature(made_by.forward).parameters)
        raise OptionError(
            f"{type(generator).__name__} cannot be truncated: its forward takes no truncation", _hint(has)
        )


def recipes_with(registry: Registry | None, test: Callable[[type[Any]], bool]) -> list[str]:
    """Sorted names of the recipes whose generator is of a class that passes a test."""
    parts = registry.parts() if registry else []
    classes = {part.name: part.factory for part in parts if part.kind == "generator" and isinstance(part.factory, type)}
    named = {
        part.name: part.factory.settings.get("generator", {}).get("name") for part in parts if part.kind == "recipe"
    }
    return sorted(recipe for recipe, name in named.items() if name in classes and test(classes[name]))


def _hint(recipes: list[str]) -> str:
    return (
        f"train one that can: --arch {' or '.join(recipes)}"
        if recipes
        else "no recipe at hand has a generator that can"
    )
