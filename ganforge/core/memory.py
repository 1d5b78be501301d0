"""How much memory there is, and networks that would take more: they are refused before any of it is asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

MOST_TENSORS = 1 << 14
"""Weights and buffers of one network; whoever asks for more has asked for thousands of layers."""

_SHAPED = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
"""What makes a tensor of nothing but its shape: of these layers make their weights."""


class TooLargeError(Exception):
    """Something that would take more memory than it may."""


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def describe_bytes(size: int) -> str:
    """A number of bytes as a user reads it, such as ``25.3 GB``."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


@contextmanager
def bounded(most: int) -> Iterator[None]:
    """Make networks that take no more than so many bytes.

    A tensor that is larger than what is left is refused before it is made, whatever layer asks for it.

    Args:
        most: Bytes of all weights and buffers together.

    Raises:
        TooLargeError: They would be more, or more than `MOST_TENSORS`.
    """
    allowance = _Allowance(most)
    handles = [
        hooks.register_module_parameter_registration_hook(allowance.count),
        hooks.register_module_buffer_registration_hook(allowance.count),
    ]
    try:
        with allowance:
            yield
    finally:
        for handle in handles:
            handle.remove()


class _Allowance(TorchFunctionMode):
    """Sees each call of torch before it is made."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.held = 0
        self.tensors = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _SHAPED:
            size = kwargs.get("size", args[0] if args and isinstance(args[0], Sequence) else args)
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            self._require(math.prod(each for each in size if isinstance(each, int)) * dtype.itemsize)
        return func(*args, **kwargs)

    def _require(self, size: int) -> None:
        if self.held + size > self.most:
            raise TooLargeError(f"takes more than {describe_bytes(self.most)} of memory")

    def count(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        """Take note of what a module has been given."""
        if tensor is not None and not is_lazy(tensor):
            self.held += tensor.nbytes
            self.tensors += 1
        if self.tensors > MOST_TENSORS:
            raise TooLargeError(f"has more than {MOST_TENSORS} tensors of weights")
