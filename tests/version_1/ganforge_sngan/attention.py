"""Self-attention on maps (Zhang 2019, SAGAN, arXiv:1805.08318, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttention(nn.Module):
    """x + gamma * o, each place of o a mean of the values of all, weighed by how well keys fit its query. Scriptable.

    Keys and values are those of maps of half the size, as in the authors' experiments. gamma begins at 0, so that the
    network first learns from what is near.

    Args:
        channels: C of the maps, a multiple of 8.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 8:
            raise ValueError(f"self-attention needs maps of a multiple of 8 channels, not {channels}")
        self.query = spectral_norm(nn.Conv2d(channels, channels // 8, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, channels // 8, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, channels // 2, 1, bias=False))
        self.output = spectral_norm(nn.Conv2d(channels // 2, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` of even sides to the same shape."""
        queries = self.query(x).flatten(2).transpose(1, 2)
        keys = max_pool2d(self.key(x), 2).flatten(2)
        values = max_pool2d(self.value(x), 2).flatten(2).transpose(1, 2)
        weights = torch.bmm(queries, keys).softmax(dim=2)
        seen = torch.bmm(weights, values).transpose(1, 2).reshape(x.shape[0], -1, x.shape[2], x.shape[3])
        attended: Tensor = x + self.gamma * self.output(seen)
        return attended
