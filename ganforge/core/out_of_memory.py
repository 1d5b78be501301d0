"""Memory that does not suffice: how it is told, and what can still be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ganforge.contract.errors import GanforgeError

T = TypeVar("T")


class OutOfMemory(GanforgeError):
    """A device, or this machine, has less memory than was asked for."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory did not suffice, on whatever device."""
    words = ("out of memory", "can't allocate memory", "Storage size calculation overflowed")
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(each in str(error) for each in words)


def run_with_halving(function: Callable[..., T], *inputs: Tensor | None, join: Callable[[T, T], T]) -> T:
    """``function(*inputs)``; where memory does not suffice for that, of each half, and so on.

    Args:
        function: Treats the examples of a batch one apart from the other.
        inputs: Tensors ``[N, ...]``, or None.
        join: Makes one of what it gives for two halves.

    Raises:
        Exception: That of the function, if it is another, or if one example is too much.
    """
    try:
        return function(*inputs)
    except (MemoryError, RuntimeError) as error:
        count = next(len(each) for each in inputs if each is not None)
        if count < 2 or not is_out_of_memory(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    halves = zip(*((None, None) if each is None else each.tensor_split(2) for each in inputs), strict=True)
    first, second = (run_with_halving(function, *half, join=join) for half in halves)
    return join(first, second)
