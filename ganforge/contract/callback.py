"""Interface of callbacks, which follow a run and may stop it."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Callback(ABC):  # noqa: B024
    """Follows a run, and may stop it; methods that are not overridden do nothing.

    The constructor is ``__init__(self, *, options...)``. Methods are called in the training loop of the main process,
    and slow ones delay it; a `Logger` is called in the background and cannot stop a run. A callback gets no networks,
    so it does not change what is trained. After an exception it is reported and not called again; training continues.

    A resumed run calls `start` again. A callback with a state reads it from files in the run directory.
    """

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:  # noqa: B027
        """Start or resume; an exception ends the run before it trains.

        Args:
            run: Run directory.
            config: Configuration by section, JSON-serializable.
            images: Real images shown so far; 0 for a new run.
        """

    def tick(self, images: int, values: Mapping[str, float]) -> str | None:
        """Handle a row of metrics, by name, such as ``generator/loss``.

        Returns:
            Reason to stop the run, which then saves and ends as if its budget were spent; None to continue.
        """
        return None

    def score(self, images: int, values: Mapping[str, float]) -> str | None:
        """Handle scores of ``--eval-every`` by name, lower is better; return as `tick`."""
        return None

    def checkpoint(self, images: int, path: Path) -> str | None:
        """Handle a written checkpoint; return as `tick`. Training waits for the file if this is overridden."""
        return None

    def finish(self) -> None:  # noqa: B027
        """Handle the end of training, also by an error."""
