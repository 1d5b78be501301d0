"""Batches of real examples: a pure function of the seed and of how many were shown before."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.data.splits import choose_labelled, is_held_out
from ganforge.data.store import PackedData
from ganforge.errors import OptionError
from ganforge.images import to_float
from ganforge.training.randomness import derive_seed


class Batches:
    """Examples in an order that is shuffled anew each epoch.

    Of the M examples that are not held out, sample number n is entry ``n mod M`` of the permutation that follows from
    the seed and the epoch ``n // M``, so one integer tells where a run stands.

    Args:
        data: Packed examples.
        seed: The run's seed.
        device: Where batches are wanted.
        holdout: Share of the examples that is never shown; in [0, 1).
        num_labels: Of how many examples the labels may be used; None for all.

    Raises:
        OptionError: Fewer or more labels than there are, or nothing left to be shown.
    """

    def __init__(
        self,
        data: PackedData,
        seed: int,
        device: torch.device,
        *,
        holdout: float = 0.0,
        num_labels: int | None = None,
    ) -> None:
        self._data = data
        self._seed = seed
        self._device = device
        self._shown = (~is_held_out(len(data), holdout)).nonzero()[:, 0]
        if not len(self._shown):
            raise OptionError(f"training.holdout={holdout:g} leaves none of {len(data)} examples to be shown")
        self._labelled: Tensor | None = None
        if num_labels is not None:
            if data.labels is None:
                raise OptionError(f"training.labels: {data.name} has no labels", "leave it out, or give labelled data")
            labels = data.labels[self._shown]
            chosen = choose_labelled(labels, data.spec.num_classes, num_labels, derive_seed(seed, "labels"))
            self._labelled = self._shown[chosen]
        self._orders: dict[int, Tensor] = {}

    def read(self, start: int, count: int) -> tuple[Tensor, Tensor | None]:
        """Samples number `start` to ``start + count``.

        Returns:
            Images ``[count, C, H, W]`` in [-1, 1] or vectors ``[count, D]``, and labels ``[count]``; None for these
            if there are none, or if only those of `read_labelled` may be used.
        """
        examples, labels = self._fetch(self.indices(start, count))
        return examples, (labels if self._labelled is None else None)

    def read_labelled(self, start: int, count: int) -> tuple[Tensor, Tensor] | None:
        """Of the few examples whose labels may be used, `count` at random, and their labels; None if all may be."""
        if self._labelled is None:
            return None
        source = torch.Generator().manual_seed(derive_seed(self._seed, "labelled", start))
        examples, labels = self._fetch(self._labelled[torch.randint(len(self._labelled), (count,), generator=source)])
        assert labels is not None
        return examples, labels

    def indices(self, start: int, count: int) -> Tensor:
        """Which examples samples number `start` to ``start + count`` are; int64 ``[count]``."""
        size = len(self._shown)
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
            self._orders = {epoch: self._shown[torch.randperm(len(self._shown), generator=source)]}
        return self._orders[epoch]

    def _fetch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        examples = self._data.examples[indices].to(self._device, non_blocking=True)
        labels = None if self._data.labels is None else self._data.labels[indices].to(self._device, non_blocking=True)
        return (to_float(examples) if examples.dtype == torch.uint8 else examples), labels
