"""Callbacks of plugins: calls of their methods, isolated from their errors, and the reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganforge.contract.callback import Callback
from ganforge.contract.errors import explain
from ganforge.plugins.part_errors import part_errors
from ganforge.training.loop import Observer
from ganforge.training.recording.loggers import numbers_of
from ganforge.training.recording.recorder import Recorder, Score


class PluginCallbacks(Observer):
    """Calls callbacks of plugins in order; `reason` is the first reason to stop the run."""

    def __init__(self, callbacks: Mapping[str, Callback], recorder: Recorder, log: Callable[[str], None]) -> None:
        self._callbacks = dict(callbacks)
        self._recorder = recorder
        self._log = log
        self.reason = ""

    def start(self, run: Path, config: Mapping[str, Any], images: int) -> None:
        """Start the callbacks; raise `GanforgeError` for an exception."""
        for name, each in self._callbacks.items():
            with part_errors("callback", name):
                each.start(run, config, images)

    def tick(self, row: dict[str, Any]) -> None:
        self._call("tick", row["images"], numbers_of(row))

    def score(self, row: dict[str, Any], best: Score) -> None:
        values = numbers_of(row)
        values.pop("seconds", None)
        self._call("score", row["images"], values)

    def saved(self, images: int) -> None:
        """Call ``checkpoint`` after the file is written."""
        if any(type(each).checkpoint is not Callback.checkpoint for each in self._callbacks.values()):
            self._recorder.writer.finish()
            self._call("checkpoint", images, self._recorder.folder.checkpoint_path(images))

    def wants_stop(self) -> bool:
        """Return whether a callback stopped the run."""
        return bool(self.reason)

    def finish(self) -> None:
        """Finish the callbacks."""
        self._call("finish")

    def _call(self, method: str, *arguments: Any) -> None:
        """Call a method of each callback; drop callbacks that raise."""
        for name, each in list(self._callbacks.items()):
            try:
                reason = getattr(each, method)(*arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                del self._callbacks[name]
                self._log(f"callback '{name}' is disabled: {explain(error)}")
                continue
            if reason and not self.reason:
                self.reason = str(reason)
                self._log(f"stopped by callback '{name}': {self.reason}")
