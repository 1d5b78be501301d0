"""Interface of loggers, such as dashboards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Logger(ABC):
    """Receives metrics, sample grids and notes of a run.

    The constructor is ``__init__(self, *, options...)``. Methods are called one at a time in a background thread; the
    run waits for it at the end. After an exception the logger is reported and not called again; training continues.

    A resumed run calls `start` again and may repeat entries after its newest checkpoint, with equal values.
    """

    @abstractmethod
    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Start or resume logging.

        Args:
            run: Run directory; its name is the run's name.
            config: Configuration by section, JSON-serializable.
            images: Real images shown so far; 0 for a new run.
        """

    @abstractmethod
    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Log scalars by name, such as ``generator/loss``, after `images` real images."""

    def log_picture(self, images: int, path: Path) -> None:  # noqa: B027
        """Log a sample grid, a PNG file."""

    def log_text(self, images: int, text: str) -> None:  # noqa: B027
        """Log a note, such as a warning."""

    def finish(self) -> None:  # noqa: B027
        """Flush and close."""
