"""Handling of termination signals: stop after the current step, or end the process."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

WATCHED = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1") if hasattr(signal, name)
)
"""Ctrl-C, a request to end, a closed terminal, Ctrl-backslash, and SLURM's warning before a time limit."""

ECHO = 2.0  # seconds in which a repeated signal counts as the same request: a terminal and a launcher may both send it


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by a termination signal."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Context manager that records the first termination signal; a second signal goes to the previous handler.

    Ignored signals, e.g. SIGHUP under ``nohup``, stay ignored. The log is called in a separate thread. With `echoes`, a
    launcher may send each signal a second time.
    """

    def __init__(self, log: Callable[[str], None] = lambda line: None, *, echoes: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self._log = log
        self._echoes = echoes
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StopRequest:
        self._before = set_handler(self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if self._thread is not None:
            self._thread.join(ECHO)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            if not self._echoes:
                self._restore()
            # A handler may interrupt a write to the same stream, which must not be re-entered.
            line = f"{self.signal.name}: saving after this step; again to end at once"
            self._thread = threading.Thread(target=self._log, args=(line,), daemon=True)
            self._thread.start()
        elif now - self._since > ECHO:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        restore_handlers(self._before)
        self._before = {}


@contextmanager
def raising_interrupts() -> Iterator[list[Interrupted]]:
    """Raise `Interrupted` in the block at the first termination signal; a second one has its default effect.

    Yields the exception, once raised; the block may convert it to another exception or an exit code.
    """
    raised: list[Interrupted] = []

    def receive(number: int, frame: FrameType | None) -> None:
        set_handler(signal.SIG_DFL)
        raised.append(Interrupted(signal.Signals(number)))
        raise raised[0]

    before = set_handler(receive)
    try:
        yield raised
    finally:
        restore_handlers(before)


def set_handler(handler: Any) -> dict[signal.Signals, Any]:
    """Set a handler for all termination signals that are not ignored; return the previous handlers.

    Outside the main thread, Python allows no handlers, and the result is empty.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    # None is a handler that was not set from Python; it cannot be restored.
    watched = [each for each in WATCHED if signal.getsignal(each) not in (signal.SIG_IGN, None)]
    return {each: signal.signal(each, handler) for each in watched}


def restore_handlers(before: dict[signal.Signals, Any]) -> None:
    """Restore the handlers that `set_handler` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)
