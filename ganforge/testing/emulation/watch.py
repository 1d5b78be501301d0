"""Observation of a step on fake CUDA tensors: kernel launches, memory traffic, and faults."""

from __future__ import annotations

import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorDeviceMismatchError,
)
from torch.utils._pytree import tree_map_only

from ganforge.training.execution import counting
from ganforge.training.execution.counting import StepCounter, tensors_in

_FOREIGN = (
    str(Path(torch.__file__).parent),
    sysconfig.get_path("stdlib"),
    str(Path(__file__).parent),
    str(Path(counting.__file__)),
)

_KEEPS_FORMAT = ("avg_pool2d", "avg_pool2d_backward", "convolution", "convolution_backward")
"""Operations that keep channels_last on a device, but not with fake tensors."""


class EmulationError(RuntimeError):
    """An operation that fails on CUDA, or waits for the device, with its line."""


@dataclass(frozen=True)
class Summary:
    """Faults with how often each occurred, launches, bytes, and the share of float32 in the elements of maps."""

    faults: dict[str, int]
    launches: int
    bytes: int
    share_of_float32: float


class Watch(StepCounter):  # type: ignore[no-untyped-call]
    """Watches the operations in the block.

    Attributes:
        faults: Descriptions of faults with file and line, and how often each occurred.
        map_elements: Elements of maps ``[N, C, H, W]`` that operations write, by dtype.

    Args:
        networks: Networks whose weights are no maps.
        may_copy: Whether the CPU and copies between devices are allowed, as in sampling.
    """

    def __init__(self, networks: Iterable[nn.Module] = (), *, may_copy: bool = False) -> None:
        super().__init__()
        self._shapes = {each.shape for network in networks for each in network.parameters()}
        self.faults: Counter[str] = Counter()
        self.map_elements: Counter[torch.dtype] = Counter()
        self._may_copy = may_copy

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        name = func.overloadpacket.__name__
        given = tensors_in((args, kwargs))
        if name == "_fused_adam_":  # has no implementation for fake tensors
            self._check_adam(args)
            return None
        try:
            output = super().call(func, args, kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            raise EmulationError(f"{find_line()}: {name} waits for the device") from error
        except FakeTensorDeviceMismatchError as error:
            raise EmulationError(f"{find_line()}: {name} mixes devices") from error
        if name in _KEEPS_FORMAT and any(map(_is_channels_last, given)):
            output = tree_map_only(Tensor, _to_channels_last, output)
        if func.namespace == "prim":  # only reads a property
            return output
        made = tensors_in(output)
        devices = {each.device.type for each in (*given, *made)}
        if name in ("_to_copy", "copy_"):
            if len(devices) > 1 and not self._may_copy:
                self._add(f"copies a tensor from {given[-1].device.type} to {made[0].device.type}")
        elif len(devices) > 1:
            self._add(f"{name} mixes devices")
        elif "cpu" in devices and not self._may_copy:
            self._add(f"{name} makes a tensor on the CPU")
        return output

    def record_written(self, written: list[Tensor]) -> None:
        for each in written:
            if each.dim() == 4 and each.is_floating_point() and each.shape not in self._shapes:
                self.map_elements[each.dtype] += each.numel()

    def summary(self) -> Summary:
        """Return what was counted."""
        share = self.map_elements[torch.float32] / max(1, self.map_elements.total())
        return Summary(dict(self.faults), self.launches, self.bytes, share)

    def _check_adam(self, lists: Any) -> None:
        """Require equal strides and dtypes: fused Adam computes wrong values otherwise, or copies."""
        for parameter, *others in zip(*lists[:4], strict=True):
            if any(_layout(each) != _layout(parameter) or each.dtype != parameter.dtype for each in others):
                self._add(f"fused Adam gets a parameter {list(parameter.shape)} and state of unequal strides or dtypes")

    def _add(self, what: str) -> None:
        self.faults[f"{find_line()}: {what}"] += 1


def find_line() -> str:
    """Return file and line of the innermost caller outside torch, the standard library and this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if not frame.f_code.co_filename.startswith(_FOREIGN):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return "backward pass"


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)


def _to_channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


def _layout(tensor: Tensor) -> list[int]:
    """Return strides of dimensions that have more than one element."""
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
