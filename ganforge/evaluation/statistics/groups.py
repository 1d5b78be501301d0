"""Moments of random groups of features, from which those of any half follow."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import DataError
from ganforge.evaluation.statistics.features import check_features
from ganforge.evaluation.statistics.frechet import frechet_distance
from ganforge.evaluation.statistics.intervals import Interval, spread_interval
from ganforge.evaluation.statistics.moments import Moments

_GROUPS = 8


class GroupedMoments:
    """Moments of features ``[N, D]``, N of 4 or more: of all rows, and of up to 8 random groups of equal size.

    Raises:
        DataError: See `check_features`.
    """

    def __init__(self, features: Tensor, *, seed: int = 0) -> None:
        check_features("features", features, least=4)
        order = np.random.RandomState(seed).permutation(len(features))
        parts = np.array_split(order, min(_GROUPS, len(features) // 2))
        self.groups = [Moments.of(features[torch.from_numpy(np.sort(part)).to(features.device)]) for part in parts]
        self.whole = self.merged(range(len(self.groups)))

    def merged(self, chosen: Iterable[int]) -> Moments:
        """Return the moments of several groups together."""
        total = Moments(self.groups[0].dimensions, self.groups[0].mean.device)
        for index in chosen:
            total.merge(self.groups[index])
        return total


def frechet_interval(
    reals: GroupedMoments, fakes: GroupedMoments, *, draws: int = 20, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the Frechet distance with an interval from random halves of the groups; see `half_sample_interval`.

    Raises:
        DataError: Dimensions differ, or half of a set has fewer than 2 rows.
        OptionError: `draws` or `level` is out of range.
    """
    source = np.random.RandomState(seed)

    def half(each: GroupedMoments) -> Moments:
        count = len(each.groups)
        moments = each.merged(source.permutation(count)[: count // 2].tolist())
        if moments.count < 2:
            raise DataError(f"half of {each.whole.count} images", "an interval needs 4 images or more")
        return moments

    value = frechet_distance(reals.whole, fakes.whole)
    return spread_interval(value, [frechet_distance(half(reals), half(fakes)) for _ in range(draws)], level=level)
