"""Parallel processing of many examples in chunks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Result = TypeVar("_Result")

_CHUNK = 256
_CHUNK_PIXELS = 1 << 22
_SMALL_PIXELS = 128 * 128
_MOST_THREADS = 8
_MOST_PIXELS = 1 << 27
"""Maximum number of pixels that are decoded concurrently; WebP needs 20 bytes per pixel, other formats fewer."""


def map_chunks(function: Callable[[range], _Result], count: int, pixels: int) -> Iterator[_Result]:
    """Apply a function to chunks of ``range(count)``, in threads for large images; yield results in order."""
    size = max(1, min(_CHUNK, _CHUNK_PIXELS // pixels))
    chunks = (range(start, min(start + size, count)) for start in range(0, count, size))
    threads = min(_MOST_THREADS, _num_cores(), max(1, _MOST_PIXELS // pixels))
    if pixels < _SMALL_PIXELS or threads == 1:  # for small images, Python dominates and threads are slower
        yield from map(function, chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Result]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(function, chunk))
            if len(waiting) > 2 * threads:  # bounded, since results take memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
