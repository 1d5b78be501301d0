"""Batches of real examples as a function of the seed and the number of examples seen."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.core.images import to_float
from ganforge.core.seeding import derive_seed
from ganforge.data.splits import choose_labeled, is_held_out
from ganforge.data.store import PackedData
from ganforge.training.loading.prefetch import open_feeder


class Batches:
    """Examples in an order that is shuffled every epoch; `holdout`, in [0, 1), is the share that is never used.

    Of the M other examples, sample n is entry ``n mod M`` of the permutation for epoch ``n // M``. The permutation
    follows from the seed, so one integer is the whole state. `num_labels` limits the labels that may be used.
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
        self._shown = (~is_held_out(len(data), holdout)).nonzero()[:, 0]
        if not len(self._shown):
            raise OptionError(f"training.holdout={holdout:g} leaves no training examples of {len(data)}")
        self._labeled: Tensor | None = None
        if num_labels is not None:
            if data.labels is None or data.number_names:
                raise OptionError(f"training.labels: {data.name} has no classes", "omit it, or use labeled data")
            labels = data.labels[self._shown]
            chosen = choose_labeled(labels, data.spec.num_classes, num_labels, derive_seed(seed, "labels"))
            self._labeled = self._shown[chosen]
        self._orders: dict[int, Tensor] = {}
        self._feeder = open_feeder(data, device)
        self._sources = None if data.sources is None else open_feeder(data.sources, device)

    def read(self, start: int, count: int, *, then: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return samples `start` to ``start + count``, and prefetch those from `then`, by default the following ones.

        Returns:
            Images ``[count, C, H, W]`` in [-1, 1] or vectors ``[count, D]``; and classes ``[count]``, condition vectors
            ``[count, K]``, or source images ``[count, C, H, W]`` in [-1, 1]; or None.
        """
        chosen, following = self.indices(start, count), self.indices(start + count if then is None else then, count)
        examples, labels = self._feeder.fetch(chosen)
        self._feeder.prepare(following)
        if self._sources is not None:
            sources, _ = self._sources.fetch(chosen)
            self._sources.prepare(following)
            labels = to_float(sources)
        return to_float(examples), (labels if self._labeled is None else None)

    def read_labeled(self, start: int, count: int, share: slice = slice(None)) -> tuple[Tensor, Tensor] | None:
        """Return the `share` of `count` random labeled examples and their labels; None without ``num_labels``."""
        if self._labeled is None:
            return None
        source = torch.Generator().manual_seed(derive_seed(self._seed, "labelled", start))
        chosen = torch.randint(len(self._labeled), (count,), generator=source)
        examples, labels = self._feeder.fetch(self._labeled[chosen[share]])
        assert labels is not None
        return to_float(examples), labels

    def indices(self, start: int, count: int) -> Tensor:
        """Return the dataset indices of samples `start` to ``start + count``; int64 ``[count]``."""
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
            order = self._shown[torch.randperm(len(self._shown), generator=source)]
            # A batch may span two epochs, so the previous order is kept.
            self._orders = {number: kept for number, kept in self._orders.items() if number == epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]
