"""Background writer: a thread that encodes, writes and syncs files in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, wait
from queue import SimpleQueue
from types import TracebackType
from typing import Any

WAITING = 4  # maximum number of jobs that wait behind the current one
GLANCE = 1.0  # poll interval in seconds: a signal just before the wait would not interrupt it
GRACE = 2.0  # seconds that the current job may still take after a KeyboardInterrupt

Job = tuple[Future[None], Callable[..., None], tuple[Any, ...]]


class Writer:
    """Runs jobs in order in a background thread.

    After a job fails, no further job runs, since a later file may refer to a missing one. Its error is re-raised by
    every later call.

    As a context manager, it finishes all jobs on exit. After a KeyboardInterrupt it waits at most `GRACE` seconds and
    drops jobs that have not started. The thread is a daemon.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._futures: deque[Future[None]] = deque()
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None

    def submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Queue a job; block while more than `WAITING` jobs wait, and raise the error of an earlier job."""
        self._wait_until(WAITING)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
            self._thread.start()
        future: Future[None] = Future()
        self._futures.append(future)
        self._jobs.put((future, function, arguments))
        return future

    def finish(self) -> None:
        """Wait until all jobs are done; re-raise the error of a failed job."""
        try:
            self._wait_until(0)
        except KeyboardInterrupt as error:
            self._cancel(error)
            raise
        finally:
            self._join()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            self._cancel(error)
        elif error is None or error is not self._failure:
            self.finish()
        else:
            self._join()

    def _wait_until(self, limit: int) -> None:
        """Wait until at most `limit` jobs are unfinished."""
        while self._futures and (len(self._futures) > limit or self._futures[0].done()):
            if wait(list(self._futures)[:1], GLANCE).done:
                self._futures[0].result()
                self._futures.popleft()

    def _cancel(self, error: KeyboardInterrupt) -> None:
        """Drop jobs that have not started."""
        self._failure = self._failure or error
        self._join(GRACE)

    def _join(self, seconds: float | None = None) -> None:
        """Join the thread: a process that exits while it holds tensors would abort."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            thread.join(seconds)

    def _work(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        """Run one job and keep no reference to it; return False at the end."""
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
