"""Compute devices: features of each type, and calls of torch that differ between them."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Features that ganforge uses on a type of device.

    Attributes:
        graphs: Steps as graphs, for which Adam's learning rate is a tensor.
        pinned: Asynchronous copies from pinned memory, and a data set that stays on the device.
        channels_last: The autotuner tries NHWC.
        float64: The device computes in float64.
        found_inf: Fused Adam skips a step by its ``found_inf``, without synchronization.
        collectives: Backend of torch.distributed for tensors of the device; None for a single process.
        edge: Rows and columns of the matrices that a benchmark multiplies.
        copied_bytes: Size of the copies of a benchmark, larger than caches.
    """

    graphs: bool = False
    pinned: bool = False
    channels_last: bool = True
    float64: bool = True
    found_inf: bool = True
    collectives: str | None = None
    edge: int = 8192
    copied_bytes: int = 1 << 30


BACKENDS = {
    "cpu": Backend(collectives="gloo", edge=1024, copied_bytes=1 << 26),
    "cuda": Backend(graphs=True, pinned=True, collectives="nccl"),
    "xpu": Backend(pinned=True, collectives="xccl"),
    # Metal has no float64, and its fused Adam ignores found_inf.
    "mps": Backend(channels_last=False, float64=False, found_inf=False, edge=4096),
}
"""Backend of each type of device."""


def backend_of(device: torch.device) -> Backend:
    """Return the backend of a device; that of the CPU for types without memory, such as ``meta``."""
    return BACKENDS.get(device.type, BACKENDS["cpu"])


def supports_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16, by emulation too."""
    if device.type in ("cuda", "xpu"):
        return bool(torch.get_device_module(device).is_bf16_supported())
    return True


def name_gpu(device: torch.device) -> str:
    """Return the model of a GPU; the type of a device whose model torch does not report."""
    if device.type in ("cuda", "xpu"):
        return str(torch.get_device_module(device).get_device_name(device))
    return device.type


def name_device(device: torch.device) -> str:
    """Return the model of the GPU or CPU."""
    if device.type in ("cuda", "xpu"):
        return name_gpu(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def synchronize(device: torch.device) -> None:
    """Wait for all work on a device."""
    if device.type in BACKENDS and device.type != "cpu":
        torch.accelerator.synchronize(device)


def empty_cache() -> None:
    """Release the accelerator's cached memory, if there is one."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is not None:
        torch.get_device_module(found).empty_cache()


def free_device_memory(device: torch.device) -> int | None:
    """Return the bytes that are free on a GPU, those of torch's cache included; None for the CPU."""
    if device.type in ("cuda", "xpu"):
        cached = torch.accelerator.memory_reserved(device) - torch.accelerator.memory_allocated(device)
        return torch.accelerator.get_memory_info(device)[0] + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    return None


@contextmanager
def measuring_peak(device: torch.device) -> Iterator[list[int]]:
    """Yield a list that receives the peak of allocated bytes in the block; it stays empty where none is counted."""
    counted, peak = device.type in ("cuda", "xpu"), list[int]()
    if counted:
        torch.accelerator.reset_peak_memory_stats(device)
    yield peak
    if counted:
        peak.append(torch.accelerator.max_memory_allocated(device))


@contextmanager
def fork_random_state(device: torch.device) -> Iterator[None]:
    """Restore the random states of the CPU and of a device after the block."""
    forked = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(forked, device_type=device.type if forked else None):
        yield


def read_random_state(device: torch.device) -> Tensor:
    """Return the random state of a device."""
    if device.type == "cpu":
        return torch.get_rng_state()
    state: Tensor = torch.get_device_module(device).get_rng_state(device)
    return state
