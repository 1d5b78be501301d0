"""What a computation asks of a machine: operations, bytes that move, and memory that is needed at once."""

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
    """Counts what is computed while it is entered, operation by operation, in both directions and of any order.

    Args:
        held: Tensors that are in memory from the start, such as weights.

    Attributes:
        flops: Multiplications and additions in products of matrices and in convolutions; all else is counted as none.
        bytes: Sizes of all tensors that operations read and write. As if nothing stayed in a cache and no operation
            were fused with another, so it is the most that moves through memory; views move nothing.
        peak_bytes: The most that tensors took at once. What an operation needs within itself is not seen.
    """

    def __init__(self, held: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.bytes = 0
        self._live: dict[int, int] = {}
        self._live_bytes = 0
        self.peak_bytes = 0
        for tensor in held:
            self._hold(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        given, made = _tensors((args, kwargs)), _tensors(output)
        self.flops += count_flops(func, args, kwargs, output)
        self.bytes += count_bytes(func, args, kwargs, given, made)
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


def count_flops(func: Any, args: Any, kwargs: Any, output: Any) -> int:
    """Multiplications and additions of one operation, by torch's own formulas."""
    if func.overloadpacket is torch.ops.aten.convolution_backward:
        # Torch's formula takes the gradient by the weight of a grouped convolution as if it had no groups. Each of
        # both gradients needs as many products as the convolution itself.
        gradient, examples, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
        rows = examples if transposed else gradient
        return int(2 * rows.numel() * math.prod(weight.shape[1:]) * sum(wanted[:2]))
    formula = flop_registry.get(func.overloadpacket)
    return int(formula(*args, **kwargs, out_val=output)) if formula else 0


def count_bytes(func: Any, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor]) -> int:
    """Bytes that one operation reads and writes: its arguments, those of them that it changes, and what it makes."""
    changed = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            changed += _tensors(args[index] if index < len(args) else kwargs.get(argument.name))
    known = {each.untyped_storage()._cdata for each in given}
    new = [each for each in made if each.untyped_storage()._cdata not in known]
    if not changed and not new:
        return 0  # a view
    if not given and func.overloadpacket.__name__.startswith("empty"):
        return 0
    return sum(_size(each) for each in [*given, *changed, *new])


def peak_resident_bytes() -> int:
    """The most memory that this process has had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _tensors(tree: Any) -> list[Tensor]:
    return [each for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _size(tensor: Tensor) -> int:
    """Bytes; what is expanded is read once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())
