"""Writing beside training: files are encoded, written and synced by a thread of their own, one after the other."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any

WAITING = 4
"""Most jobs that wait behind the one at hand."""

GLANCE = 1.0
"""Seconds after which whoever waits looks up: a signal may come just before the wait, which would not be broken off."""

GRACE = 2.0
"""Seconds in which the job at hand may end after a KeyboardInterrupt."""

Job = tuple[Future[None], Callable[..., None], tuple[Any, ...]]


class Writer:
    """Does jobs in the order in which they were handed over, while whoever hands them over goes on.

    After a job has failed, no other is done, since a later file may refer to one that is missing. Its error is raised
    in the thread that hands over, by whatever is called next and from then on.

    Entered, it waits at the end until all is done, whatever ended the block; only after a KeyboardInterrupt it waits no
    longer than `GRACE`, and jobs that were not begun are dropped. Its thread keeps no process alive.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._futures: deque[Future[None]] = deque()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Have ``function(*arguments)`` done, once at most `WAITING` jobs would wait.

        What it reads must not change from now on.

        Returns:
            Its ``result()`` waits until the job is done.

        Raises:
            Exception: That of a job that failed; this one will not be done.
        """
        self._wait(WAITING)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self._thread.start()
        future: Future[None] = Future()
        self._futures.append(future)
        self._jobs.put((future, function, arguments))
        return future

    def finish(self) -> None:
        """Wait until all jobs are done; others may be handed over afterwards.

        Raises:
            Exception: That of a job that failed.
        """
        try:
            self._wait(0)
        except KeyboardInterrupt as error:
            self._break_off(error)
            raise
        finally:
            self._end()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._break_off(error)
        elif error is None or error is not self._failure:
            self.finish()
        else:
            self._end()

    def _wait(self, most: int) -> None:
        """Wait until at most so many jobs are not done."""
        while self._futures and (len(self._futures) > most or self._futures[0].done()):
            if wait(list(self._futures)[:1], GLANCE).done:
                self._futures[0].result()
                self._futures.popleft()

    def _break_off(self, error: KeyboardInterrupt) -> None:
        """Drop the jobs that were not begun."""
        self._failure = self._failure or error
        self._end(GRACE)

    def _end(self, seconds: float | None = None) -> None:
        """Let the thread end; a process that ends while it still holds tensors would be aborted."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join(seconds)

    def _work(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        """Do one job, and keep nothing of it; False if there are no more."""
        job = self._jobs.get()
        if job is None:
            return False
        future, function, arguments = job
        try:
            if self._failure is not None:
                raise self._failure
            function(*arguments)
        except BaseException as error:
            self._failure = self._failure or error
            future.set_exception(self._failure)
        else:
            future.set_result(None)
        return True
