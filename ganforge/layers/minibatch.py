"""Minibatch statistics, by which a discriminator detects a lack of variety."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

MinibatchStatistics = Literal["none", "deviation", "discrimination"]
"""Values of a network's option ``minibatch``."""


class MinibatchDeviation(nn.Module):
    """Mean standard deviation of features over the batch (Karras 2018, arXiv:1710.10196, section 3); one statistic.

    Args:
        group: Examples of a group, each with a statistic of its own; 0 for the batch. Example i is in group
            i mod N / group. If the batch has no such groups, they have the greatest common divisor of both numbers.
    """

    num_statistics = 1

    def __init__(self, group: int = 0) -> None:
        super().__init__()
        self.group = group

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``[N, F]`` to ``[N, 1]``, equal for all examples of a group."""
        count = len(features)
        size = math.gcd(min(self.group, count), count) if self.group else count
        deviations = (features.view(size, -1, features.shape[1]).var(0, unbiased=False) + 1e-8).sqrt()
        if size == count:
            return deviations.mean().expand(count, 1)
        return deviations.mean(1).repeat(size)[:, None]


class MinibatchDiscrimination(nn.Module):
    """Closeness of each example to the others of its batch in learned spaces (Salimans 2016, arXiv:1606.03498, 3.2).

    o_b(i) = sum over j of exp(-|M_b(i) - M_b(j)|_1), with M_b a learned linear map of the features.

    Args:
        num_features: Width F of the features.
        num_statistics: Number B of spaces.
        dim: Dimension of each space.
    """

    def __init__(self, num_features: int, num_statistics: int = 16, dim: int = 8) -> None:
        super().__init__()
        self.num_statistics = num_statistics
        self.project = nn.Linear(num_features, num_statistics * dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``[N, F]`` to ``[N, B]``, each in [1, N]."""
        points = self.project(features).view(len(features), self.num_statistics, -1)  # [N, B, dim]
        distances = (points[:, None] - points[None]).abs().sum(3)  # [N, N, B]
        return torch.exp(-distances).sum(1)


def make_minibatch_statistics(
    kind: str, num_features: int, group: int = 0
) -> MinibatchDeviation | MinibatchDiscrimination | None:
    """Create the layer of a network's option ``minibatch``; None for ``none``. `group` is of `MinibatchDeviation`."""
    if kind == "deviation":
        return MinibatchDeviation(group)
    return MinibatchDiscrimination(num_features) if kind == "discrimination" else None
