"""Import paths of version 0.1 that plugins and programs may use: they work until 0.3, with a DeprecationWarning."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {
    "ganforge.api": "ganforge",
    "ganforge.capabilities": "ganforge.contract.capabilities",
    "ganforge.checkpoint": "ganforge.runs.checkpoint",
    "ganforge.data.cache": "ganforge.core.cache",
    "ganforge.errors": "ganforge.contract.errors",
    "ganforge.evaluation.modes": "ganforge.evaluation.metrics.mode_coverage",
    "ganforge.exporter": "ganforge.contract.exporter",
    "ganforge.extractor": "ganforge.contract.extractor",
    "ganforge.hookspecs": "ganforge.contract.hookspecs",
    "ganforge.images": "ganforge.core.images",
    "ganforge.interfaces": "ganforge",
    "ganforge.interpolation": "ganforge.core.interpolation",
    "ganforge.logger": "ganforge.contract.logger",
    "ganforge.registry": "ganforge.plugins.registry",
    "ganforge.schedules": "ganforge.contract.schedules",
}
"""Old modules with their new ones."""


class MovedModules(MetaPathFinder, Loader):
    """Finds modules by their old names; each gives the names of the new module."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old name."""
        return ModuleSpec(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and forward attributes to the new module."""
        old, new = module.__name__, MOVED[module.__name__]
        warnings.warn(f"{old} is now {new}; the old path ends with version 0.3", DeprecationWarning, stacklevel=2)
        module.__dict__["__getattr__"] = lambda name: getattr(import_module(new), name)
