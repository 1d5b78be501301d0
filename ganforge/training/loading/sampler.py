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
    follows from the seed, so one integer is the whole state. Unpaired sources have an order of their own, of the same
    kind. `num_labels` limits the labels that may be used.
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
        self._seed = seed
        shown = _find_shown(data, holdout)
        self._order = ShuffledOrder(shown, seed, "epoch")
        self._source_order: ShuffledOrder | None = None
        if data.sources is not None and not data.is_paired:
            self._source_order = ShuffledOrder(_find_shown(data.sources, holdout), seed, "sources")
        self._labeled: Tensor | None = None
        if num_labels is not None:
            if data.labels is None or data.number_names:
                raise OptionError(f"training.labels: {data.name} has no classes", "omit it, or use labeled data")
            labels = data.labels[shown]
            chosen = choose_labeled(labels, data.spec.num_classes, num_labels, derive_seed(seed, "labels"))
            self._labeled = shown[chosen]
        self._feeder = open_feeder(data, device)
        self._sources = None if data.sources is None else open_feeder(data.sources, device)

    def read(self, start: int, count: int, *, then: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return samples `start` to ``start + count``, and prefetch those from `then`, by default the following ones.

        Returns:
            Images ``[count, C, H, W]`` in [-1, 1] or vectors ``[count, D]``; and classes ``[count]``, condition vectors
            ``[count, K]``, or source images ``[count, C, H, W]`` in [-1, 1]; or None.
        """
        then = start + count if then is None else then
        examples, labels = self._feeder.fetch(self.indices(start, count))
        self._feeder.prepare(self.indices(then, count))
        if self._sources is not None:
            order = self._source_order or self._order
            sources, _ = self._sources.fetch(order.indices(start, count))
            self._sources.prepare(order.indices(then, count))
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
        return self._order.indices(start, count)


class ShuffledOrder:
    """Endless order of `members`, int64 ``[M]``, shuffled every epoch; `purpose` distinguishes orders of one seed."""

    def __init__(self, members: Tensor, seed: int, purpose: str) -> None:
        self._members, self._seed, self._purpose = members, seed, purpose
        self._epochs: dict[int, Tensor] = {}

    def indices(self, start: int, count: int) -> Tensor:
        """Return entries `start` to ``start + count``; int64 ``[count]``."""
        size = len(self._members)
        pieces = []
        while count > 0:
            epoch, offset = divmod(start, size)
            piece = self._epoch(epoch)[offset : offset + count]
            pieces.append(piece)
            start, count = start + len(piece), count - len(piece)
        return torch.cat(pieces)

    def _epoch(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            source = torch.Generator().manual_seed(derive_seed(self._seed, self._purpose, epoch))
            order = self._members[torch.randperm(len(self._members), generator=source)]
            # A batch may span two epochs, so the previous order is kept.
            self._epochs = {number: kept for number, kept in self._epochs.items() if number == epoch - 1}
            self._epochs[epoch] = order
        return self._epochs[epoch]


def _find_shown(data: PackedData, holdout: float) -> Tensor:
    shown = (~is_held_out(len(data), holdout)).nonzero()[:, 0]
    if not len(shown):
        raise OptionError(f"training.holdout={holdout:g} leaves no training examples of {len(data)}")
    return shown
