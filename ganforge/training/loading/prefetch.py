"""Transfer of examples to the device, with prefetching."""

from __future__ import annotations

import threading
from typing import Protocol

import torch
from torch import Tensor

from ganforge.core.accelerator import backend_of, free_device_memory
from ganforge.data.store import PackedData

GPU_SHARE = 0.4  # share of free GPU memory up to which a whole data set is kept on the GPU

_CHUNK_BYTES = 1 << 24


class Feeder(Protocol):
    """Transfers examples to a device. `fetch` depends on its argument alone, not on `prepare`."""

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return examples ``[n, ...]`` in their stored type and labels ``[n]`` or None, for indices on the CPU."""

    def prepare(self, indices: Tensor) -> None:
        """Start to prefetch the examples that are probably fetched next."""
        return


def open_feeder(data: PackedData, device: torch.device) -> Feeder:
    """Return a feeder: resident if the data fit on the GPU, else prefetching; direct without pinned copies."""
    free = free_device_memory(device) if backend_of(device).pinned else None
    if free is None:
        return DirectFeeder(data, device)
    return (ResidentFeeder if data.examples.nbytes <= GPU_SHARE * free else PrefetchingFeeder)(data, device)


class DirectFeeder(Feeder):
    """Reads examples on request."""

    def __init__(self, data: PackedData, device: torch.device) -> None:
        self._data = data
        self._device = device

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = _allocate(self._data, len(indices), self._device)
        self._data.gather(indices, rows)
        return self._send(rows, indices)

    def _send(self, rows: Tensor, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self._data.labels is None else _to_device(self._data.labels[indices], self._device)
        return _to_device(rows, self._device), labels


class PrefetchingFeeder(DirectFeeder):
    """Reads the next examples in a background thread while the device computes.

    Buffers are pinned, and torch reuses them only after their copy is complete. Each batch has its own daemon thread,
    so none delays the end of the process.
    """

    def __init__(self, data: PackedData, device: torch.device) -> None:
        super().__init__(data, device)
        self._ahead: _Prefetch | None = None

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        ahead = self._ahead
        if ahead is None or not torch.equal(ahead.indices, indices):
            return super().fetch(indices)
        self._ahead = None
        return self._send(ahead.wait(), indices)

    def prepare(self, indices: Tensor) -> None:
        """Start to prefetch; earlier prefetched examples are dropped."""
        self._ahead = _Prefetch(self._data, indices, _allocate(self._data, len(indices), self._device))


class _Prefetch:
    """Examples that a thread is reading."""

    def __init__(self, data: PackedData, indices: Tensor, rows: Tensor) -> None:
        self.indices = indices
        self._data = data
        self._rows = rows
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._gather, name="ganforge-prefetch", daemon=True)
        self._thread.start()

    def _gather(self) -> None:
        try:
            self._data.gather(self.indices, self._rows)
        except Exception as error:  # re-raised in wait()
            self._error = error

    def wait(self) -> Tensor:
        """Return the examples once they are read; re-raise an error of the thread."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._rows


class ResidentFeeder(Feeder):
    """Keeps all examples on the device; raises `DataError` if their file cannot be read."""

    def __init__(self, data: PackedData, device: torch.device) -> None:
        self._device = device
        self._examples = torch.empty_like(data.examples, device=device)
        size = max(1, _CHUNK_BYTES // data.examples[0].nbytes)
        for start in range(0, len(data), size):
            indices = torch.arange(start, min(start + size, len(data)))
            rows = _allocate(data, len(indices), torch.device("cpu"))
            data.gather(indices, rows)
            self._examples[start : start + len(rows)] = rows
        self._labels = None if data.labels is None else data.labels.to(device)

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        there = _to_device(indices, self._device)
        labels = None if self._labels is None else self._labels[there]
        return _take(self._examples, there), labels


def _take(examples: Tensor, indices: Tensor) -> Tensor:
    """Return rows of a tensor on any device; backends lack an index of uint16."""
    if examples.dtype != torch.uint16:
        return examples[indices]
    return examples.view(torch.int16)[indices].view(torch.uint16)


def _allocate(data: PackedData, count: int, device: torch.device) -> Tensor:
    """Allocate host memory for examples, pinned where the device copies it asynchronously."""
    shape = (count, *data.examples.shape[1:])
    return torch.empty(shape, dtype=data.examples.dtype, pin_memory=backend_of(device).pinned)


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy from host memory, without blocking if the memory can be pinned."""
    pinned = backend_of(device).pinned
    return (tensor.pin_memory() if pinned and not tensor.is_pinned() else tensor).to(device, non_blocking=pinned)
