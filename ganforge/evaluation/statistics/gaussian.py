"""Squared maximum mean discrepancy with a Gaussian kernel, of normalized features (CMMD)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ganforge.evaluation.statistics.features import blocks, check_pair
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
    real_groups, fake_groups = (_draw_groups(len(features), source) for features in (reals, fakes))
    sums = (
        _kernel_sums(reals, real_groups, reals, real_groups),
        _kernel_sums(fakes, fake_groups, fakes, fake_groups),
        _kernel_sums(reals, real_groups, fakes, fake_groups),
    )
    sizes = [groups.sum(dim=0) for groups in (real_groups, fake_groups)]

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


def _draw_groups(count: int, source: np.random.RandomState) -> Tensor:
    """Draw groups of two rows or more, as a matrix of 0 and 1, float64 ``[count, G]``."""
    groups = torch.from_numpy(source.permutation(count)) % min(_GROUPS, count // 2)
    return one_hot(groups).double()


def _kernel_sums(first: Tensor, first_groups: Tensor, second: Tensor, second_groups: Tensor) -> Tensor:
    """Return the sums of ``k - 1``, float64 ``[G, H]``, over the pairs of each two groups."""
    sums = torch.zeros(first_groups.shape[1], second_groups.shape[1], dtype=torch.float64)
    for start, rows in blocks(first):
        near = normalize(rows)
        for other, columns in blocks(second):
            if first is second and other < start:
                continue
            far = normalize(columns).to(near.device)
            squares = near.square().sum(1)[:, None] + far.square().sum(1) - 2 * near @ far.T
            kernel = torch.expm1(squares / (-2 * SIGMA**2)).cpu()
            part = first_groups[start : start + len(rows)].T @ kernel @ second_groups[other : other + len(columns)]
            sums += part + part.T if first is second and other > start else part
    return sums
