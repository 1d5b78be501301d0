"""Logger for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganforge import Logger, OptionError, hookimpl

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Logger):
    """Scalars, images and text for TensorBoard: ``tensorboard --logdir runs``.

    Args:
        folder: Folder within the run directory.
    """

    def __init__(self, *, folder: str = "tensorboard") -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                f"logger 'tensorboard' needs the package tensorboard: {error}", 'pip install "ganforge[tensorboard]"'
            ) from error
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise OptionError(f"loggers.tensorboard.folder: {folder!r} is outside the run", "such as tensorboard")
        self._open = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        if not (run / self._folder).resolve().is_relative_to(run.resolve()):
            raise OptionError(f"{run / self._folder} is outside the run", "remove the symbolic link")
        self._writer = self._open(str(run / self._folder), purge_step=images + 1 if images else None)
        lines = [f"    {section}: {value}" for section, value in config.items()]
        self._writer.add_text("configuration", "\n".join(lines), images)

    def log(self, images: int, values: Mapping[str, float]) -> None:
        assert self._writer is not None
        for name, value in values.items():
            self._writer.add_scalar(name, value, images)

    def log_picture(self, images: int, path: Path) -> None:
        from ganforge import open_picture  # slow import

        assert self._writer is not None
        picture = open_picture(path.read_bytes(), path.name).convert("RGB")
        self._writer.add_image("samples", np.asarray(picture), images, dataformats="HWC")

    def log_text(self, images: int, text: str) -> None:
        assert self._writer is not None
        self._writer.add_text("notes", text, images)

    def finish(self) -> None:
        if self._writer is not None:
            self._writer.close()


@hookimpl
def ganforge_loggers() -> dict[str, type[Logger]]:
    return {"tensorboard": TensorBoard}
