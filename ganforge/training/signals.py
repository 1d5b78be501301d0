"""Stopping on request: a signal ends a run after the step at hand; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

WATCHED = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C, the usual request to end, and what SLURM sends when a job's time is nearly up."""

ECHO = 2.0
"""Seconds in which a signal that comes again is the same request: a terminal sends one to all processes of a team, and
their launcher sends it on."""


class StopRequest:
    """Watches for signals while it is entered.

    Args:
        echoes: Whether a launcher may send each signal a second time.

    Attributes:
        signal: The signal that came, or None.
    """

    def __init__(self, *, echoes: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self._echoes = echoes
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in WATCHED:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            if not self._echoes:
                self._restore()
        elif now - self._since > ECHO:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
