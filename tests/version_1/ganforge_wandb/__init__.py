"""Weights & Biases as a logger: ``ganforge train --log wandb``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import wandb
from ganforge import Logger, hookimpl

GANFORGE_API = 1
"""The version of ganforge's contract that this was written for."""

ID = "wandb-id.txt"
"""The file in a run's folder that says which run it is there, so that both go on together."""


class WeightsAndBiases(Logger):
    """Curves over images, grids and alerts on warnings, at Weights & Biases or in files to be sent there later.

    Args:
        project: Of the run there.
        entity: A user or a team; none for your own.
        mode: ``online`` sends at once and needs a login; ``offline`` keeps files for ``wandb sync``.
        group: Of runs that belong together, such as seeds of one experiment.
        tags: Words to find it by.
    """

    def __init__(
        self,
        *,
        project: str = "ganforge",
        entity: str | None = None,
        mode: Literal["online", "offline"] = "online",
        group: str | None = None,
        tags: tuple[str, ...] = (),
    ) -> None:
        if not project:
            raise ValueError("project must be a name")
        self.project, self.entity, self.mode, self.group, self.tags = project, entity, mode, group, tags
        self._run: Any = None

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Begin the run there, or go on with it."""
        file = run / ID
        if not file.exists():
            file.write_text(secrets.token_hex(8) + "\n", encoding="ascii")
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            tags=list(self.tags),
            mode=self.mode,
            id=file.read_text(encoding="ascii").strip(),
            resume="allow",
            name=run.resolve().name,
            dir=str(run),
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
        self._run.define_metric("images", hidden=True)
        self._run.define_metric("*", step_metric="images")

    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        self._run.log({"images": images, **values})

    def log_picture(self, images: int, path: Path) -> None:
        """Add a grid."""
        self._run.log({"images": images, "samples": wandb.Image(str(path))})

    def log_text(self, images: int, text: str) -> None:
        """Raise an alert."""
        self._run.alert(title="ganforge", text=f"after {images} images: {text}")

    def finish(self) -> None:
        """Send what is left."""
        if self._run is not None:
            self._run.finish()


@hookimpl
def ganforge_loggers() -> dict[str, type[Logger]]:
    """Offer the logger."""
    return {"wandb": WeightsAndBiases}
