"""What tells a discriminator that a batch lacks variety."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

MinibatchStatistics = Literal["none", "deviation", "discrimination"]
"""Kinds of statistics, as a network's option ``minibatch`` names them."""


class MinibatchDeviation(nn.Module):
    """The deviation of features over the batch, averaged into one number (Karras 2018, arXiv:1710.10196, section 3).

    Attributes:
        num_statistics: 1.
    """

    num_statistics = 1

    def forward(self, features: Tensor) -> Tensor:
        """One number for all examples: ``[N, F]`` to ``[N, 1]``."""
        deviations = (features.var(0, unbiased=False) + 1e-8).sqrt()
        return deviations.mean().expand(len(features), 1)


class MinibatchDiscrimination(nn.Module):
    """How near each example lies to the others of its batch, in learned spaces (Salimans 2016, arXiv:1606.03498, 3.2).

    o_b(i) = sum over j of exp(-|M_b(i) - M_b(j)|_1), with M_b a learned linear map of the features.

    Args:
        num_features: F.
        num_statistics: B, the number of spaces.
        dim: Dimensions of each.
    """

    def __init__(self, num_features: int, num_statistics: int = 16, dim: int = 8) -> None:
        super().__init__()
        self.num_statistics = num_statistics
        self.project = nn.Linear(num_features, num_statistics * dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Nearness for each example and space: ``[N, F]`` to ``[N, B]``, each in [1, N]."""
        points = self.project(features).view(len(features), self.num_statistics, -1)  # [N, B, dim]
        distances = (points[:, None] - points[None]).abs().sum(3)  # [N, N, B]
        return torch.exp(-distances).sum(1)


def make_minibatch_statistics(kind: str, num_features: int) -> MinibatchDeviation | MinibatchDiscrimination | None:
    """The layer of a network's option ``minibatch``; None for ``none``."""
    if kind == "deviation":
        return MinibatchDeviation()
    return MinibatchDiscrimination(num_features) if kind == "discrimination" else None
