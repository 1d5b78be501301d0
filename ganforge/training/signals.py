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
"""Ctrl-C, the usual request to end, a closed terminal, Ctrl-backslash, and SLURM's warning before a time limit."""

ECHO = 2.0
"""Seconds in which a repeated signal counts as the same request: a terminal signals all processes of a group, and their
launcher forwards the signal."""


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread by a termination signal.

    Args:
        number: The signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Context manager that records the first termination signal; a second signal goes to the previous handler.

    A signal that is ignored when the block is entered, such as SIGHUP under ``nohup``, stays ignored.

    Args:
        say: Called with one line when the first signal arrives, in a thread of its own.
        echoes: Whether a launcher may send each signal a second time.

    Attributes:
        signal: The first signal, or None.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None, *, echoes: bool = False) -> None:
        self.signal: signal.Signals | None = None
        self._say = say
        self._echoes = echoes
        self._since = 0.0
        self._before: dict[signal.Signals, Any] = {}
        self._saying: threading.Thread | None = None

    def __enter__(self) -> StopRequest:
        self._before = set_handler(self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if self._saying is not None:
            self._saying.join(ECHO)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = signal.Signals(number), now
            if not self._echoes:
                self._restore()
            # A handler may interrupt a write to the same stream, which a second write must not enter.
            line = f"{self.signal.name}: saving after this step; again to end at once"
            self._saying = threading.Thread(target=self._say, args=(line,), daemon=True)
            self._saying.start()
        elif now - self._since > ECHO:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        restore_handlers(self._before)
        self._before = {}


@contextmanager
def raising_interrupts() -> Iterator[list[Interrupted]]:
    """Raise `Interrupted` in the block at the first termination signal; a second one has its default effect.

    Yields:
        The exception, once raised; the block may turn it into another one or into an exit code.
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
    """Set one handler for all termination signals that are not ignored.

    Args:
        handler: As for `signal.signal`.

    Returns:
        The previous handlers; empty outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    # None is a handler that was not set from Python, and cannot be restored.
    watched = [each for each in WATCHED if signal.getsignal(each) not in (signal.SIG_IGN, None)]
    return {each: signal.signal(each, handler) for each in watched}


def restore_handlers(before: dict[signal.Signals, Any]) -> None:
    """Restore the handlers that `set_handler` returned."""
    for number, handler in before.items():
        signal.signal(number, handler)
