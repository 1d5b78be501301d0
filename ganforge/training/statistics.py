"""Means of what happens in steps, summed on the device and read only when a tick asks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Statistics:
    """Sums and counts of named scalars since the last reading."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count scalars in, without waiting for the device."""
        numbers = torch.stack(list(values.values())).double().unbind()
        for name, number in zip(values, numbers, strict=True):
            if name not in self._sums:
                self._sums[name], self._counts[name] = torch.zeros_like(number), 0
            self._counts[name] += 1
        torch._foreach_add_([self._sums[name] for name in values], numbers)

    def read(self) -> dict[str, float]:
        """The means since the last reading, by name; starts anew."""
        means = {name: total.item() / self._counts[name] for name, total in sorted(self._sums.items())}
        self._sums, self._counts = {}, {}
        return means

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: sum and count ``[2]`` by name."""
        return {
            name: torch.stack([total, torch.full_like(total, self._counts[name])]) for name, total in self._sums.items()
        }

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `tensors` gave."""
        self._sums = {name: pair[0].to(device) for name, pair in tensors.items()}
        self._counts = {name: int(pair[1]) for name, pair in tensors.items()}
