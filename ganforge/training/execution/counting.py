"""Counting of floating-point operations, memory traffic and peak memory."""

from __future__ import annotations

import math
import resource
import sys
import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class StepCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations in the block, backward passes of any order included; `held` tensors exist from the start.

    Attributes:
        launches: Operations that read or write memory; on a GPU each is one kernel launch or more. Views count 0.
        flops: Multiplications and additions of matrix products and convolutions.
        bytes: Sizes of all tensors read and written, without caches and fusion: an upper bound. Views count 0.
        peak_bytes: Peak size of all live tensors, without temporary memory within operations.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches = 0
        self.flops = 0
        self.bytes = 0
        self.peak_bytes = 0
        self._live: dict[int, int] = {}
        self._live_bytes = 0
        for tensor in held:
            self._hold(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = self.call(func, args, kwargs)
        given, made = tensors_in((args, kwargs)), tensors_in(output)
        written = _find_written(func, args, kwargs, given, made)
        if written:
            self.launches += 1
            self.bytes += sum(map(_size, given + written))
            self.record_written(written)
        self.flops += _count_flops(func, args, kwargs, output)
        for tensor in made:
            self._hold(tensor)
        return output

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Compute an operation."""
        return func(*args, **kwargs)

    def record_written(self, written: list[Tensor]) -> None:
        """Receive the tensors that an operation writes."""

    def _hold(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self._live:
            self._live[key] = size
            self._live_bytes += size
            self.peak_bytes = max(self.peak_bytes, self._live_bytes)
            weakref.finalize(storage, self._release, key).atexit = False

    def _release(self, key: int) -> None:
        self._live_bytes -= self._live.pop(key)


def _count_flops(func: Any, args: Any, kwargs: Any, output: Any) -> int:
    if func.overloadpacket is torch.ops.aten.convolution_backward:
        # torch's formula ignores groups in the weight's gradient. Each gradient needs as many operations as the
        # convolution itself.
        gradient, examples, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
        rows = examples if transposed else gradient
        return int(2 * rows.numel() * math.prod(weight.shape[1:]) * sum(wanted[:2]))
    formula = flop_registry.get(func.overloadpacket)
    return int(formula(*args, **kwargs, out_val=output)) if formula else 0


def _find_written(func: Any, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor]) -> list[Tensor]:
    """Return the tensors that are changed in place, and new ones; none for views and uninitialized memory."""
    changed = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += tensors_in(args[index] if index < len(args) else kwargs.get(argument.name))
    if "empty" in func.overloadpacket.__name__:  # only allocates
        return []
    known = {each.untyped_storage()._cdata for each in given}
    return changed + [each for each in made if each.untyped_storage()._cdata not in known]


def peak_resident_bytes() -> int:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def tensors_in(tree: Any) -> list[Tensor]:
    """Return the tensors of nested lists, tuples and dictionaries."""
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _size(tensor: Tensor) -> int:
    """Return the size in bytes; an expanded tensor counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
