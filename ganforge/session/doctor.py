"""Find problems of plugins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganforge.config.schema import check_recipes
from ganforge.plugins.loading import Plugin, load_plugins
from ganforge.plugins.registry import Registry
from ganforge.plugins.trial import find_fatal_plugins


@dataclass(frozen=True)
class Diagnosis:
    """Problems of plugins; all lists are empty without problems.

    Attributes:
        plugins: Number of plugins that were loaded.
        broken: Plugins that cannot be imported.
        clashes: Names that several plugins offer.
        recipes: Recipes that cannot be resolved.
        warnings: Other problems.
    """

    plugins: int
    broken: list[Plugin]
    clashes: list[str]
    recipes: list[str]
    warnings: list[str]

    @property
    def is_healthy(self) -> bool:
        """True if no problem was found."""
        return not (self.broken or self.clashes or self.recipes or self.warnings)


def diagnose_plugins(files: Sequence[Path], disabled: Sequence[str]) -> Diagnosis:
    """Import plugins in a subprocess first, then here without those that crash or hang; resolve all recipes.

    Args:
        files: One-file plugins.
        disabled: Names of plugins to skip.
    """
    fatal = find_fatal_plugins(files, disabled)
    usable = [path for path in files if path.stem not in fatal]
    registry = Registry(load_plugins(usable, [*disabled, *fatal]))
    broken = [
        replace(plugin, status="broken", error=fatal[plugin.name]) if plugin.name in fatal else plugin
        for plugin in registry.plugins
        if plugin.status == "broken" or plugin.name in fatal
    ]
    broken += [Plugin(path.stem, str(path), "", "broken", fatal[path.stem]) for path in files if path.stem in fatal]
    return Diagnosis(
        plugins=len(registry.plugins),
        broken=broken,
        clashes=registry.clashes(),
        recipes=check_recipes(registry),
        warnings=[f"{plugin.name}: {warning}" for plugin in registry.plugins for warning in plugin.warnings],
    )
