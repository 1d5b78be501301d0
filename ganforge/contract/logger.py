"""What a logger is: a part that tells others how a run goes, such as a dashboard."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Logger(ABC):
    """Hears all that a run writes down: rows of numbers, pictures, words.

    The constructor is ``__init__(self, *, options...)``. Methods are called one after the other, in a thread beside
    training, which goes on meanwhile; but a run ends only when its loggers have. One that raises is told of in a line,
    and not called again: training goes on without it.

    A run that is resumed calls `start` again and may tell once more what it told after its newest checkpoint, with
    equal numbers.
    """

    @abstractmethod
    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Begin a sitting of a run.

        Args:
            run: The run's folder; its name is that of the run.
            config: All that settles it, fit for JSON: sections with their options.
            images: How many were shown before: 0 unless it is resumed.
        """

    @abstractmethod
    def log(self, images: int, values: Mapping[str, float]) -> None:
        """Numbers by name, such as ``generator/loss``, after so many images."""

    def log_picture(self, images: int, path: Path) -> None:  # noqa: B027
        """A grid of samples, a PNG file, after so many images."""

    def log_text(self, images: int, text: str) -> None:  # noqa: B027
        """Words, such as a warning, after so many images."""

    def finish(self) -> None:  # noqa: B027
        """The sitting has ended: write what is still open."""
