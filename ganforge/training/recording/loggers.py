"""Forwarding of a run's progress to loggers of plugins, isolated from their errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.errors import explain
from ganforge.contract.logger import Logger
from ganforge.training.loop import Observer
from ganforge.training.recording.background_writer import Writer
from ganforge.training.recording.recorder import Score


def numbers_of(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the scalars of a row by name, without the number of images."""
    return {name: float(each) for name, each in row.items() if isinstance(each, int | float) and name != "images"}


class Loggers(Observer):
    """Observer that forwards to loggers after the files of a row are written."""

    def __init__(self, loggers: Mapping[str, Logger], writer: Writer, log: Callable[[str], None]) -> None:
        self._loggers = dict(loggers)
        self._writer = writer
        self._log = log
        self._images = 0

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Start the loggers immediately, so that connection errors show before training."""
        self._images = images
        self._call("start", run, config, images)

    def step(self, images: int, seconds: float) -> None:
        self._images = images

    def tick(self, row: dict[str, Any]) -> None:
        self._log_values(row)
        if "picture" in row:
            self._submit("log_picture", row["images"], Path(row["picture"]))
        for warning in row.get("warnings", []):
            self._submit("log_text", row["images"], f"warning: {warning}")

    def note(self, text: str) -> None:
        self._submit("log_text", self._images, text)

    def score(self, row: dict[str, Any], best: Score) -> None:
        self._log_values(row)

    def finish(self) -> None:
        """Finish the loggers, after the writer."""
        self._call("finish")

    def _log_values(self, row: Mapping[str, Any]) -> None:
        self._submit("log", row["images"], numbers_of(row))

    def _submit(self, method: str, *arguments: Any) -> None:
        if self._loggers:
            self._writer.submit(self._call, method, *arguments)

    def _call(self, method: str, *arguments: Any) -> None:
        """Call a method of each logger; drop loggers that raise."""
        for name, logger in list(self._loggers.items()):
            try:
                getattr(logger, method)(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                del self._loggers[name]
                self._log(f"logger '{name}' is disabled: {explain(error)}")
