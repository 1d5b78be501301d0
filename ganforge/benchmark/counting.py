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


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations in the block, backward passes of any order included; `held` tensors exist from the start.

    Attributes:
        flops: Multiplications and additions of matrix products and convolutions.
        bytes: Sizes of all tensors read and written, without caches and fusion: an upper bound. Views count 0.
        peak_bytes: Peak size of all live tensors, without temporary memory within operations.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.bytes = 0
        self.peak_bytes = 0
        self._live: dict[int, int] = {}
        self._live_bytes = 0
        for tensor in held:
            self._hold(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        made = _tensors(output)
        self.flops += _count_flops(func, args, kwargs, output)
        self.bytes += _count_bytes(func, args, kwargs, made)
        for tensor in made:
            self._hold(tensor)
        return output

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


def _count_bytes(func: Any, args: Any, kwargs: Any, made: list[Tensor]) -> int:
    """Return the bytes of arguments, of arguments that are changed in place, and of new tensors."""
    given, changed = _tensors((args, kwargs)), []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += _tensors(args[index] if index < len(args) else kwargs.get(argument.name))
    known = {each.untyped_storage()._cdata for each in given}
    new = [each for each in made if each.untyped_storage()._cdata not in known]
    is_view = not changed and not new
    if is_view or (not given and func.overloadpacket.__name__.startswith("empty")):
        return 0
    return sum(_size(each) for each in [*given, *changed, *new])


def peak_resident_bytes() -> int:
    """Return the peak memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _tensors(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _size(tensor: Tensor) -> int:
    """Return the size in bytes; an expanded tensor counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
