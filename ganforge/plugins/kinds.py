"""Kinds of parts: hook, base class and command of each."""

from __future__ import annotations

from dataclasses import dataclass
from inspect import isfunction
from typing import Any


@dataclass(frozen=True)
class Kind:
    """One kind of part: hook, name of the base class in `ganforge`, and command with ``{name}`` for a part's name.

    Its parts are subclasses of the base (``class``), any callables (``factory``), or objects (``instance``). A command
    has no base: it is a function, or an object of ``typer.Typer``.
    """

    hook: str
    base: str
    usage: str
    form: str = "class"

    @property
    def plural(self) -> str:
        """Plural, such as ``losses``."""
        return self.hook.removeprefix("ganforge_")

    def find_error(self, part: object) -> str:
        """Return what a part must be instead; empty if it is valid."""
        import ganforge

        if self.form == "command":
            return "" if isfunction(part) or type(part).__name__ == "Typer" else "a function or a typer.Typer"
        base: Any = getattr(ganforge, self.base)
        if self.form == "factory":
            return "" if callable(part) else "a class or a function"
        if self.form == "instance":
            return "" if isinstance(part, base) else f"a ganforge.{self.base}"
        return "" if isinstance(part, type) and issubclass(part, base) else f"a subclass of ganforge.{self.base}"


KINDS = {
    "generator": Kind("ganforge_generators", "Generator", "ganforge train --generator {name}"),
    "discriminator": Kind("ganforge_discriminators", "Discriminator", "ganforge train --discriminator {name}"),
    "loss": Kind("ganforge_losses", "Loss", "ganforge train --loss {name}"),
    "regularizer": Kind("ganforge_regularizers", "Regularizer", "ganforge train --reg {name}"),
    "augmentation": Kind("ganforge_augmentations", "Augmentation", "ganforge train --augment {name}"),
    "optimizer": Kind("ganforge_optimizers", "Optimizer", "ganforge train --set optimizer.name={name}"),
    "dataset": Kind("ganforge_datasets", "Dataset", "ganforge train --data {name}", form="factory"),
    "recipe": Kind("ganforge_recipes", "Recipe", "ganforge train --arch {name}", form="instance"),
    "exporter": Kind("ganforge_exporters", "Exporter", "ganforge export --format {name}"),
    "extractor": Kind("ganforge_extractors", "Extractor", "ganforge eval --fid --extractor {name}"),
    "aligner": Kind("ganforge_aligners", "Aligner", "ganforge explore project --align {name}"),
    "importer": Kind("ganforge_importers", "Importer", "ganforge import FILE --format {name}"),
    "metric": Kind("ganforge_metrics", "Metric", "ganforge eval --metric {name}"),
    "command": Kind("ganforge_commands", "", "ganforge {name}", form="command"),
    "callback": Kind("ganforge_callbacks", "Callback", "ganforge train --callback {name}"),
    "logger": Kind("ganforge_loggers", "Logger", "ganforge train --log {name}"),
}
"""Every kind of part, by its singular name."""

BUILT_IN_COMMANDS = (
    "train",
    "tune",
    "init",
    "sample",
    "eval",
    "report",
    "export",
    "import",
    "bench",
    "demo",
    "runs",
    "explore",
    "data",
    "extractor",
    "plugins",
)
"""Commands whose names plugins cannot take."""
