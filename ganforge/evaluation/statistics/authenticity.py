"""Authenticity: generated images that are no noisy copies of training images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganforge.evaluation.statistics.features import check_features, check_pair
from ganforge.evaluation.statistics.intervals import MIN_FOR_INTERVAL, Interval, share_interval
from ganforge.evaluation.statistics.neighbors import nearest


def authenticity(
    reals: Tensor, fakes: Tensor, *, draws: int = 20, level: float = 0.95, seed: int = 0
) -> tuple[float, Interval | None]:
    """Return the share of authentic generated images in [0, 1], and its interval.

    An image is authentic if it is further from its nearest training image than that one is from its own nearest other
    training image. Alaa et al. 2022, "How Faithful is your Synthetic Data?" (arXiv:2102.08921), section 3.3.

    Images with the same nearest training image are not independent, so the interval is from random halves of the
    training images, each with the generated ones next to it. There is none below 20 images.

    Args:
        reals: Features ``[N, D]`` of the training images, 2 rows or more.
        fakes: Features ``[M, D]`` of the generated images.
        draws: Number of halves, 2 or more.
        level: Confidence in (0, 1).
        seed: Seed of the halves.
    """
    check_pair(reals, fakes)
    check_features("real features", reals, least=2)
    found = nearest(fakes, reals)
    chosen, near = torch.unique(found.indices[:, 0], return_inverse=True)
    around = nearest(reals[chosen.to(reals.device)], reals, count=2).besides(chosen)
    authentic = found.distances[:, 0] > around[near]
    share = authentic.double().mean().item()
    if min(len(reals), len(fakes)) < MIN_FOR_INTERVAL:
        return share, None
    counts = torch.bincount(near).cpu()
    hits = torch.bincount(near, weights=authentic.double()).cpu()
    source = np.random.RandomState(seed)
    halves: list[float] = []
    while len(halves) < draws:
        half = torch.from_numpy(source.rand(len(chosen)) < 0.5)
        if counts[half].sum():
            halves.append((hits[half].sum() / counts[half].sum()).item())
    return share, share_interval(share, len(fakes), draws=halves, level=level)
