"""Squared maximum mean discrepancy with a Gaussian kernel, of normalized features (CMMD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ganforge.evaluation.statistics.features import ROWS, check_pair, to_float64
from ganforge.evaluation.statistics.intervals import Interval, spread_interval

SIGMA = 10.0
"""Bandwidth of the kernel."""

SCALE = 1000.0
"""Factor of the values."""

_GROUPS = 20


@dataclass(frozen=True, kw_only=True)
class GaussianDiscrepancy:
    """Discrepancy of two sets, times `SCALE`.

    Attributes:
        value: Unbiased estimate; about 0 for equal distributions, and may be negative.
        biased: Estimate with the kernel of each row with itself, 0 or more, as the authors' code computes it.
        interval: Interval of `value` by random halves.
    """

    value: float
    biased: float
    interval: Interval


def gaussian_discrepancy(
    reals: Tensor, fakes: Tensor, *, draws: int = 20, level: float = 0.95, seed: int = 0
) -> GaussianDiscrepancy:
    """Return the squared MMD of rows of unit length with the kernel ``exp(-|x - y|^2 / (2 SIGMA^2))``.

    Jayasumana et al. 2024, "Rethinking FID: Towards a Better Evaluation Metric for Image Generation"
    (arXiv:2401.09603). The sums over pairs of 20 random groups per set give the values of their halves too.

    Args:
        reals: Features ``[N, D]`` of any float type, 4 rows or more.
        fakes: Features ``[M, D]``.
        draws: Number of halves, 2 or more.
        level: Confidence in (0, 1).
        seed: Seed of groups and halves.
    """
    check_pair(reals, fakes, least=4)
    source = np.random.RandomState(seed)
    real_groups, fake_groups = (_split(features, source) for features in (reals, fakes))
    sums = (
        _kernel_sums(real_groups, real_groups), _kernel_sums(fake_groups, fake_groups),
        _kernel_sums(real_groups, fake_groups),
    )  # fmt: skip
    sizes = [torch.tensor([len(each) for each in groups]) for groups in (real_groups, fake_groups)]

    def estimate(*chosen: Sequence[int], biased: bool = False) -> float:
        first, second = (int(counts[rows].sum()) for counts, rows in zip(sizes, chosen, strict=True))
        within = 0.0
        for among, rows, count in zip(sums[:2], chosen, (first, second), strict=True):
            # Sums are of k - 1, so that rows add 0 with themselves.
            within += among[rows][:, rows].sum().item() / (count * (count if biased else count - 1))
        return SCALE * (within - 2 * sums[2][chosen[0]][:, chosen[1]].sum().item() / (first * second))

    whole = [list(range(len(each))) for each in sizes]
    halves = [[source.permutation(len(each))[: len(each) // 2].tolist() for each in sizes] for _ in range(draws)]
    value = estimate(*whole)
    return GaussianDiscrepancy(
        value=value,
        biased=estimate(*whole, biased=True),
        interval=spread_interval(value, [estimate(*half) for half in halves], level=level),
    )


def _split(features: Tensor, source: np.random.RandomState) -> list[Tensor]:
    """Return random groups of two rows or more."""
    order = source.permutation(len(features))
    parts = np.array_split(order, min(_GROUPS, len(features) // 2))
    return [features[torch.from_numpy(part).to(features.device)] for part in parts]


def _kernel_sums(first: list[Tensor], second: list[Tensor]) -> Tensor:
    """Return the sums of ``k - 1``, float64 ``[G, H]``, over the pairs of each two groups."""
    sums = torch.zeros(len(first), len(second), dtype=torch.float64)
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            if first is second and j < i:
                sums[i, j] = sums[j, i]
            else:
                sums[i, j] = _kernel_sum(left, right)
    return sums


def _kernel_sum(left: Tensor, right: Tensor) -> float:
    total = 0.0
    others = [normalize(to_float64(each)) for each in torch.split(right, ROWS)]
    for rows in torch.split(left, ROWS):
        near = normalize(to_float64(rows))
        for far in others:
            squares = near.square().sum(1)[:, None] + far.square().sum(1) - 2 * near @ far.T
            total += torch.expm1(squares / (-2 * SIGMA**2)).sum().item()
    return total
