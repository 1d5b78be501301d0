"""Out-of-memory handling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ganforge.contract.errors import GanforgeError
from ganforge.core.accelerator import empty_cache

T = TypeVar("T")


class OutOfMemory(GanforgeError):
    """Device or machine out of memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that a device or the machine is out of memory."""
    words = ("out of memory", "can't allocate memory", "Storage size calculation overflowed")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)


def run_with_halving(function: Callable[..., T], *inputs: Tensor | None, join: Callable[[T, T], T]) -> T:
    """Return ``function(*inputs)``; when out of memory, split the batch in halves, recursively, and join their results.

    The function computes each example of inputs ``[N, ...]`` independently. Other errors, and out of memory with one
    example, are raised.
    """
    try:
        return function(*inputs)
    except (MemoryError, RuntimeError) as error:
        count = next(len(each) for each in inputs if each is not None)
        if count < 2 or not is_out_of_memory(error):
            raise
    empty_cache()
    halves = zip(*((None, None) if each is None else each.tensor_split(2) for each in inputs), strict=True)
    first, second = (run_with_halving(function, *half, join=join) for half in halves)
    return join(first, second)
