"""Kernel distance (KID): the unbiased squared maximum mean discrepancy of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.evaluation.statistics.features import check_pair, to_float64
from ganforge.evaluation.statistics.intervals import Interval, seed_interval

_BLOCKS = 10


@dataclass(frozen=True, kw_only=True)
class KernelDistance:
    """Kernel distance.

    Attributes:
        mean: Mean over the subsets; about 0 for equal distributions, and may be negative.
        deviation: Population standard deviation of single subsets, not of the mean.
        interval: Interval of the true distance; see `kernel_distance`.
    """

    mean: float
    deviation: float
    interval: Interval


def kernel_distance(
    reals: Tensor, fakes: Tensor, *, subsets: int = 100, subset_size: int = 1000, level: float = 0.95, seed: int = 2020
) -> KernelDistance:
    """Return the unbiased squared MMD with the kernel ``(x.y / D + 1)^3``.

    Binkowski et al. 2018, "Demystifying MMD GANs" (arXiv:1801.01401). Mean and deviation are over random subsets, those
    of torch-fidelity for an equal seed, with its defaults and generated images as its first input. Subsets share
    images, so the interval is Student's over disjoint, independent blocks (Zaremba et al. 2013, "B-test"): 10 blocks,
    or more if there are more of `subset_size`.

    Args:
        reals: Features ``[N, D]`` of any float type, 4 rows or more.
        fakes: Features ``[M, D]``.
        subsets: Number of subsets, 1 or more.
        subset_size: Rows of each set in a subset, 2 or more.
        level: Confidence in (0, 1).
        seed: Seed of subsets and blocks.
    """
    check_pair(reals, fakes, least=4)
    smaller = min(len(reals), len(fakes))
    if not 2 <= subset_size <= smaller:
        raise OptionError(
            f"subsets of {subset_size} from {len(reals)} real and {len(fakes)} generated images",
            f"they may have 2 to {smaller}",
        )
    if subsets < 1:
        raise OptionError(f"{subsets} subsets", "take 1 or more; 100 are usual")
    source = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        ours, theirs = (source.choice(len(features), subset_size, replace=False) for features in (fakes, reals))
        values.append(_discrepancy(_rows(reals, theirs), _rows(fakes, ours)))
    count = min(max(_BLOCKS, smaller // subset_size), smaller // 2)
    parts = [source.permutation(len(features))[: smaller // count * count] for features in (reals, fakes)]
    blocks = zip(*(np.split(part, count) for part in parts), strict=True)
    apart = [_discrepancy(_rows(reals, theirs), _rows(fakes, ours)) for theirs, ours in blocks]
    return KernelDistance(
        mean=float(np.mean(values)), deviation=float(np.std(values)), interval=seed_interval(apart, level=level)
    )


def _rows(features: Tensor, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
    return to_float64(features[torch.from_numpy(indices).to(features.device)])


def _discrepancy(first: Tensor, second: Tensor) -> float:
    """Return the unbiased squared MMD of float64 ``[N, D]`` each."""
    second = second.to(first.device)

    def kernel(left: Tensor, right: Tensor) -> Tensor:
        return (left @ right.T / left.shape[1] + 1) ** 3

    within = 0.0
    for each in (first, second):
        among = kernel(each, each)
        within += ((among.sum() - among.trace()) / (len(each) * (len(each) - 1))).item()
    return within - 2 * kernel(first, second).mean().item()
