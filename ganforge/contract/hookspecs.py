"""Hooks that a plugin implements.

A hook takes no arguments and returns a mapping from name to part. Names are lower-case letters, digits and hyphens.
A plugin is a module with such functions, in the entry-point group ``ganforge`` or given as ``--plugin FILE.py``.
``ganforge plugins new NAME --kind KIND`` writes an example of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from ganforge.contract.aligner import Aligner
    from ganforge.contract.callback import Callback
    from ganforge.contract.data import Dataset
    from ganforge.contract.exporter import Exporter
    from ganforge.contract.extractor import Extractor
    from ganforge.contract.importer import Importer
    from ganforge.contract.logger import Logger
    from ganforge.contract.metric import Metric
    from ganforge.contract.networks import Discriminator, Generator
    from ganforge.contract.optimizer import Optimizer
    from ganforge.contract.parts import Augmentation, Loss, Recipe, Regularizer

hookspec = pluggy.HookspecMarker("ganforge")
hookimpl = pluggy.HookimplMarker("ganforge")


@hookspec
def ganforge_generators() -> Mapping[str, type[Generator]]:  # type: ignore[empty-body]
    """Generators by name; ``ganforge train --generator NAME`` selects one."""


@hookspec
def ganforge_discriminators() -> Mapping[str, type[Discriminator]]:  # type: ignore[empty-body]
    """Discriminators by name; ``ganforge train --discriminator NAME`` selects one."""


@hookspec
def ganforge_losses() -> Mapping[str, type[Loss]]:  # type: ignore[empty-body]
    """Losses by name; ``ganforge train --loss NAME`` selects one."""


@hookspec
def ganforge_regularizers() -> Mapping[str, type[Regularizer]]:  # type: ignore[empty-body]
    """Regularizers by name; ``ganforge train --reg NAME`` adds one."""


@hookspec
def ganforge_optimizers() -> Mapping[str, type[Optimizer]]:  # type: ignore[empty-body]
    """Optimizers by name; ``ganforge train --set optimizer.name=NAME`` selects one."""


@hookspec
def ganforge_datasets() -> Mapping[str, type[Dataset] | Callable[..., Any]]:  # type: ignore[empty-body]
    """Data sets by name: classes, or functions that return a map-style data set; ``ganforge train --data NAME``."""


@hookspec
def ganforge_augmentations() -> Mapping[str, type[Augmentation]]:  # type: ignore[empty-body]
    """Augmentations by name; ``ganforge train --augment NAME`` adds one."""


@hookspec
def ganforge_recipes() -> Mapping[str, Recipe]:  # type: ignore[empty-body]
    """Recipes by name; ``ganforge train --arch NAME`` selects one."""


@hookspec
def ganforge_exporters() -> Mapping[str, type[Exporter]]:  # type: ignore[empty-body]
    """Exporters by name; ``ganforge export --format NAME`` selects one."""


@hookspec
def ganforge_extractors() -> Mapping[str, type[Extractor]]:  # type: ignore[empty-body]
    """Extractors by name; ``ganforge eval --extractor NAME`` selects one."""


@hookspec
def ganforge_aligners() -> Mapping[str, type[Aligner]]:  # type: ignore[empty-body]
    """Aligners by name; ``--align NAME`` of ``ganforge explore project`` selects one."""


@hookspec
def ganforge_importers() -> Mapping[str, type[Importer]]:  # type: ignore[empty-body]
    """Importers by name; ``ganforge import FILE --format NAME`` selects one."""


@hookspec
def ganforge_metrics() -> Mapping[str, type[Metric]]:  # type: ignore[empty-body]
    """Metrics by name; ``ganforge eval --metric NAME`` computes one."""


@hookspec
def ganforge_commands() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Commands by name, functions or objects of ``typer.Typer``; ``ganforge NAME`` runs one."""


@hookspec
def ganforge_callbacks() -> Mapping[str, type[Callback]]:  # type: ignore[empty-body]
    """Callbacks by name; ``ganforge train --callback NAME`` adds one."""


@hookspec
def ganforge_loggers() -> Mapping[str, type[Logger]]:  # type: ignore[empty-body]
    """Loggers by name; ``ganforge train --log NAME`` adds one."""
