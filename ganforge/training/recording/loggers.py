"""Loggers of plugins as watchers of a run: none of them can do it harm."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.errors import explain
from ganforge.contract.logger import Logger
from ganforge.training.recording.background_writer import Writer
from ganforge.training.recording.recorder import Score


class Loggers:
    """Tells loggers what a `Callback` is told, after the files that it speaks of were written.

    Args:
        loggers: By name.
        writer: Writes those files, and calls the loggers in turn.
        say: Told in one line which logger failed, and why.
    """

    def __init__(self, loggers: Mapping[str, Logger], writer: Writer, say: Callable[[str], None]) -> None:
        self._loggers = dict(loggers)
        self._writer = writer
        self._say = say
        self._images = 0

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Begin; at once, so that what cannot be reached shows before training."""
        self._images = images
        self._call("start", run, config, images)

    def step(self, images: int, seconds: float) -> None:
        """Steps are not told."""
        self._images = images

    def tick(self, row: dict[str, Any]) -> None:
        """Tell numbers, picture and warnings of a row."""
        self._tell_numbers(row)
        if "picture" in row:
            self._submit("log_picture", row["images"], Path(row["picture"]))
        for warning in row.get("warnings", []):
            self._submit("log_text", row["images"], f"warning: {warning}")

    def note(self, text: str) -> None:
        """Tell words."""
        self._submit("log_text", self._images, text)

    def score(self, row: dict[str, Any], best: Score) -> None:
        """Tell the values of scores."""
        self._tell_numbers(row)

    def finish(self) -> None:
        """Let loggers end; the writer has done so before."""
        self._call("finish")

    def _tell_numbers(self, row: Mapping[str, Any]) -> None:
        values = {name: float(each) for name, each in row.items() if isinstance(each, int | float) and name != "images"}
        self._submit("log", row["images"], values)

    def _submit(self, method: str, *arguments: Any) -> None:
        if self._loggers:
            self._writer.submit(self._call, method, *arguments)

    def _call(self, method: str, *arguments: Any) -> None:
        """Call a method of each logger; one that raises is not called again."""
        for name, logger in list(self._loggers.items()):
            try:
                getattr(logger, method)(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                del self._loggers[name]
                self._say(f"logger '{name}' is left out from now on: {explain(error)}")
