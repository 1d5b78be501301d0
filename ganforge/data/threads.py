"""Work on many examples, in chunks and on several threads where that pays."""

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
"""Of all images that are decoded at the same time: WebP takes 20 bytes for each, other formats fewer."""


def in_chunks(function: Callable[[range], _Result], count: int, pixels: int) -> Iterator[_Result]:
    """Apply a function to ``range(count)``, chunk by chunk, and give its results in order.

    Args:
        function: Takes the indices of a chunk; called on several threads if images are large.
        count: How many there are.
        pixels: Of the largest image; few large ones make a chunk.
    """
    size = max(1, min(_CHUNK, _CHUNK_PIXELS // pixels))
    chunks = (range(start, min(start + size, count)) for start in range(0, count, size))
    threads = min(_MOST_THREADS, _num_cores(), max(1, _MOST_PIXELS // pixels))
    if pixels < _SMALL_PIXELS or threads == 1:  # decoding a small image is mostly Python, which threads only slow down
        yield from map(function, chunks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Result]] = deque()
        for chunk in chunks:
            waiting.append(pool.submit(function, chunk))
            if len(waiting) > 2 * threads:  # so far ahead and no farther: results take memory
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
