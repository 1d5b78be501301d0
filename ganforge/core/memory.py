"""Memory of the machine, and a limit on the memory of networks during construction."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from ganforge.core.accelerator import free_device_memory

MOST_TENSORS = 1 << 14
"""Maximum number of weights and buffers of one network, reached with thousands of layers."""

_SHAPED = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
"""Functions that allocate a tensor from a shape, as layers do for their weights."""


class TooLargeError(Exception):
    """Network that exceeds its memory limit."""


def machine_memory() -> int:
    """Bytes of memory that this machine has; ``sys.maxsize`` where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device, those of torch's cache included."""
    free = free_device_memory(device)
    if free is not None:
        return free
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":") for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError):  # not Linux
        return machine_memory()


def describe_bytes(size: int) -> str:
    """Format a number of bytes, such as ``25.3 GB``."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


@contextmanager
def limit_memory(most: int) -> Iterator[None]:
    """Limit weights and buffers of networks that are constructed in the block to `most` bytes.

    A tensor that exceeds the rest of the limit raises `TooLargeError` before it is allocated.
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
    """Checks each call of torch before it runs."""

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
            needed = math.prod(each for each in size if isinstance(each, int)) * dtype.itemsize
            if self.held + needed > self.most:
                raise TooLargeError(f"takes more than {describe_bytes(self.most)} of memory")
        return func(*args, **kwargs)

    def count(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        """Count a new parameter or buffer of a module."""
        if tensor is not None and not is_lazy(tensor):
            self.held += tensor.nbytes
            self.tensors += 1
        if self.tensors > MOST_TENSORS:
            raise TooLargeError(f"has more than {MOST_TENSORS} tensors of weights")
