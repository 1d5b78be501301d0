"""Batches of real examples: a pure function of the seed and of how many were shown before."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.data.store import PackedData
from ganforge.images import to_float
from ganforge.training.randomness import derive_seed


class Batches:
    """Examples in an order that is shuffled anew each epoch.

    Sample number n is entry ``n mod N`` of the permutation that follows from the seed and the epoch ``n // N``, so one
    integer tells where a run stands.

    Args:
        data: Packed examples, all of which are served.
        seed: The run's seed.
        device: Where batches are wanted.
    """

    def __init__(self, data: PackedData, seed: int, device: torch.device) -> None:
        self._data = data
        self._seed = seed
        self._device = device
        self._orders: dict[int, Tensor] = {}

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Samples number `start` to ``start + count``.

        Returns:
            Images ``[count, C, H, W]`` in [-1, 1] or vectors ``[count, D]``, and labels ``[count]`` or None.
        """
        indices = self.indices(start, count)
        examples = self._data.examples[indices].to(self._device, non_blocking=True)
        labels = None if self._data.labels is None else self._data.labels[indices].to(self._device, non_blocking=True)
        return (to_float(examples) if examples.dtype == torch.uint8 else examples), labels

    def indices(self, start: int, count: int) -> Tensor:
        """Which examples samples number `start` to ``start + count`` are; int64 ``[count]``."""
        size = len(self._data.examples)
        pieces = []
        while count > 0:
            epoch, offset = divmod(start, size)
            piece = self._order(epoch)[offset : offset + count]
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return torch.cat(pieces)

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            source = torch.Generator().manual_seed(derive_seed(self._seed, "epoch", epoch))
            self._orders = {epoch: torch.randperm(len(self._data.examples), generator=source)}
        return self._orders[epoch]
