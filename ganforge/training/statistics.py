"""Means of what happens in steps, summed on the device and read only when a tick asks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Statistics:
    """Sums and counts of named scalars since the last reading."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count scalars in, without waiting for the device."""
        for name, value in values.items():
            pair = torch.stack((value.double(), torch.ones_like(value, dtype=torch.float64)))
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def read(self) -> dict[str, float]:
        """The means since the last reading, by name; starts anew."""
        means = {name: (pair[0] / pair[1]).item() for name, pair in sorted(self._sums.items())}
        self._sums = {}
        return means

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: sum and count ``[2]`` by name."""
        return dict(self._sums)

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `tensors` gave."""
        self._sums = {name: pair.to(device) for name, pair in tensors.items()}
