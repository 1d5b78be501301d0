"""Logger for Weights & Biases: ``ganforge train --log wandb``."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import wandb
from ganforge import Logger, hookimpl

GANFORGE_API = 1
"""Version of the plugin contract."""

ID = "wandb-id.txt"
"""File in the run directory with the id of the W&B run, so that a resumed run continues it."""


class WeightsAndBiases(Logger):
    """Log metrics, sample grids and warnings to Weights & Biases.

    Args:
        project: W&B project of the run.
        entity: User or team; None for your own.
        mode: ``online`` uploads at once and needs a login; ``offline`` writes files for ``wandb sync``.
        group: Group of related runs, such as seeds of one experiment.
        tags: Search tags.
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
        self._run.log({"images": images, **values})

    def log_picture(self, images: int, path: Path) -> None:
        self._run.log({"images": images, "samples": wandb.Image(str(path))})

    def log_text(self, images: int, text: str) -> None:
        self._run.alert(title="ganforge", text=f"after {images} images: {text}")

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()


@hookimpl
def ganforge_loggers() -> dict[str, type[Logger]]:
    """Return the logger."""
    return {"wandb": WeightsAndBiases}
