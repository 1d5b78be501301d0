"""Means of what happens in steps, summed on the device and read only when a tick asks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Statistics:
    """Sums and counts of named scalars since the last reading; what is not finite is left out."""

    def __init__(self) -> None:
        self._pairs: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Count scalars in, without waiting for the device."""
        numbers = torch.stack(list(values.values())).double()
        pairs = torch.stack([numbers.nan_to_num(0, 0, 0), numbers.isfinite().double()], 1)
        for name in values:
            if name not in self._pairs:
                self._pairs[name] = torch.zeros_like(pairs[0])
        torch._foreach_add_([self._pairs[name] for name in values], pairs.unbind())

    def read(self) -> dict[str, float]:
        """The means since the last reading, by name; starts anew. There is none of what was never finite."""
        pairs, self._pairs = self._pairs, {}
        sums = {name: pair.tolist() for name, pair in sorted(pairs.items())}
        return {name: total / count for name, (total, count) in sums.items() if count}

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps: sum and count ``[2]`` by name."""
        return dict(self._pairs)

    def load(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `tensors` gave."""
        self._pairs = {name: pair.to(device, copy=True) for name, pair in tensors.items()}
