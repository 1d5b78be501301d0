"""Running means of scalars, accumulated on the device and read at each tick."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganforge.core.accelerator import backend_of


class Statistics:
    """Sums and counts of named scalars since the last read; non-finite values are skipped."""

    def __init__(self) -> None:
        self._pairs: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Add scalars without synchronizing with the device."""
        numbers = torch.stack(list(values.values()))
        numbers = numbers.to(_sum_dtype(numbers.device))
        pairs = torch.stack([numbers.nan_to_num(0, 0, 0), numbers.isfinite().to(numbers.dtype)], 1)
        for name in values:
            if name not in self._pairs:
                self._pairs[name] = torch.zeros_like(pairs[0])
        torch._foreach_add_([self._pairs[name] for name in values], pairs.unbind())

    def read(self) -> dict[str, float]:
        """Return the means by name and reset; omit scalars that were never finite."""
        pairs, self._pairs = self._pairs, {}
        sums = {name: pair.tolist() for name, pair in sorted(pairs.items())}
        return {name: total / count for name, (total, count) in sums.items() if count}

    def tensors(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint: sum and count ``[2]`` by name."""
        return dict(self._pairs)

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Load the state from `tensors`."""
        self._pairs = {name: pair.to(device, _sum_dtype(device), copy=True) for name, pair in tensors.items()}


def _sum_dtype(device: torch.device) -> torch.dtype:
    return torch.float64 if backend_of(device).float64 else torch.float32
