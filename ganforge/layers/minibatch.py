"""Minibatch statistics, by which a discriminator detects a lack of variety."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

MinibatchStatistics = Literal["none", "deviation", "discrimination"]
"""Values of a network's option ``minibatch``."""


class MinibatchDeviation(nn.Module):
    """Mean standard deviation of features over the batch (Karras 2018, arXiv:1710.10196, section 3); one statistic."""

    num_statistics = 1

    def forward(self, features: Tensor) -> Tensor:
        """Map features ``[N, F]`` to ``[N, 1]``, equal for all examples."""
        deviations = (features.var(0, unbiased=False) + 1e-8).sqrt()
        return deviations.mean().expand(len(features), 1)


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


def make_minibatch_statistics(kind: str, num_features: int) -> MinibatchDeviation | MinibatchDiscrimination | None:
    """Create the layer of a network's option ``minibatch``; None for ``none``."""
    if kind == "deviation":
        return MinibatchDeviation()
    return MinibatchDiscrimination(num_features) if kind == "discrimination" else None
