"""Where examples lie during a run, and how some of them come to the device without it waiting."""

from __future__ import annotations

import threading
from typing import Protocol

import torch
from torch import Tensor

from ganforge.data.store import PackedData

GPU_SHARE = 0.4
"""Of a GPU's free memory; examples that take no more are kept there as a whole."""

_CHUNK_BYTES = 1 << 24


class Feeder(Protocol):
    """Brings examples to a device. What `fetch` gives follows from its argument alone, whatever was prepared."""

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Some examples on the device.

        Args:
            indices: Which, int64 ``[n]`` on the CPU.

        Returns:
            Examples ``[n, ...]`` as they are packed, and labels ``[n]`` or None.

        Raises:
            DataError: The file of the examples can no longer be read.
        """

    def prepare(self, indices: Tensor) -> None:
        """Be told what will probably be fetched next."""


def open_feeder(data: PackedData, device: torch.device) -> Feeder:
    """The quickest feeder for these data: a GPU holds them, or has them brought while it works."""
    if device.type != "cuda":
        return DirectFeeder(data, device)
    free, _ = torch.cuda.mem_get_info(device)
    return (ResidentFeeder if data.examples.nbytes <= GPU_SHARE * free else PrefetchingFeeder)(data, device)


class DirectFeeder:
    """Gathers examples when they are asked for.

    Args:
        data: Packed examples.
        device: Where they are wanted.
    """

    def __init__(self, data: PackedData, device: torch.device) -> None:
        self._data = data
        self._device = device

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Feeder.fetch`."""
        rows = _room_for(self._data, len(indices), self._device)
        self._data.gather(indices, rows)
        return self._send(rows, indices)

    def prepare(self, indices: Tensor) -> None:
        """Nothing."""

    def _send(self, rows: Tensor, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        labels = None if self._data.labels is None else _to_device(self._data.labels[indices], self._device)
        return _to_device(rows, self._device), labels


class PrefetchingFeeder(DirectFeeder):
    """Gathers the examples that are asked for next on a thread, while the device works.

    They lie in pinned memory, of which torch gives out no piece again before the copy out of it is done. The thread is
    one for each batch and calls nothing that could not be broken off, so it never holds up the end of the process.
    """

    def __init__(self, data: PackedData, device: torch.device) -> None:
        super().__init__(data, device)
        self._ahead: _Gathering | None = None

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Feeder.fetch`; what was prepared waits until it is asked for or something else is prepared."""
        ahead = self._ahead
        if ahead is None or not torch.equal(ahead.indices, indices):
            return super().fetch(indices)
        self._ahead = None
        return self._send(ahead.wait(), indices)

    def prepare(self, indices: Tensor) -> None:
        """Begin to gather; what was prepared before is dropped."""
        self._ahead = _Gathering(self._data, indices, _room_for(self._data, len(indices), self._device))


class _Gathering:
    """Examples that a thread is gathering."""

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
        except Exception as error:  # raised where the examples are asked for
            self._error = error

    def wait(self) -> Tensor:
        """The examples, once they are there; raises what the thread did."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._rows


class ResidentFeeder:
    """Holds all examples on the device, where they are gathered too.

    Args:
        data: Packed examples.
        device: Where they are wanted.

    Raises:
        DataError: The file of the examples cannot be read.
    """

    def __init__(self, data: PackedData, device: torch.device) -> None:
        self._device = device
        self._examples = torch.empty_like(data.examples, device=device)
        size = max(1, _CHUNK_BYTES // data.examples[0].nbytes)
        for start in range(0, len(data), size):
            indices = torch.arange(start, min(start + size, len(data)))
            rows = _room_for(data, len(indices), torch.device("cpu"))
            data.gather(indices, rows)
            self._examples[start : start + len(rows)] = rows
        self._labels = None if data.labels is None else data.labels.to(device)

    def fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """As `Feeder.fetch`."""
        there = _to_device(indices, self._device)
        labels = None if self._labels is None else self._labels[there]
        return self._examples[there], labels

    def prepare(self, indices: Tensor) -> None:
        """Nothing: all is there."""


def _room_for(data: PackedData, count: int, device: torch.device) -> Tensor:
    """Memory for examples on their way to a device, pinned where that lets the copy go on by itself."""
    shape = (count, *data.examples.shape[1:])
    return torch.empty(shape, dtype=data.examples.dtype, pin_memory=device.type == "cuda")


def _to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy from this machine's memory without waiting for the device."""
    if device.type == "cuda" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
