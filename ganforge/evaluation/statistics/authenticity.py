"""Authenticity: generated images that are no noisy copies of training images."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.evaluation.statistics.features import check_features, check_pair
from ganforge.evaluation.statistics.neighbors import nearest


def authenticity(reals: Tensor, fakes: Tensor) -> float:
    """Return the share of authentic generated images, in [0, 1].

    An image is authentic if it is further from its nearest training image than that one is from its own nearest other
    training image. Alaa et al. 2022, "How Faithful is your Synthetic Data?" (arXiv:2102.08921).

    Args:
        reals: Features ``[N, D]`` of the training images, 2 rows or more.
        fakes: Features ``[M, D]`` of the generated images.
    """
    check_pair(reals, fakes)
    check_features("real features", reals, least=2)
    found = nearest(fakes, reals)
    chosen, near = torch.unique(found.indices[:, 0], return_inverse=True)
    around = nearest(reals[chosen.to(reals.device)], reals, count=2).besides(chosen)
    return (found.distances[:, 0] > around[near]).double().mean().item()
