"""Adaptive instance normalization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm

from ganforge.layers.equalized import EqualizedLinear


class AdaIN(nn.Module):
    """Adaptive instance normalization (Huang and Belongie 2017; Karras 2019, arXiv:1812.04948, equation 1). Scriptable.

    y_s (x - mean(x)) / std(x) + y_b per map, with scales y_s and shifts y_b a learned affine function of the style of
    length `w_dim`. Scales start around 1 and shifts around 0.
    """

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, 2 * channels)
        with torch.no_grad():
            self.affine.bias[:channels] = 1.0

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Normalize maps ``[N, C, H, W]`` with styles ``[N, w_dim]``."""
        style: Tensor = self.affine(w)
        scale, shift = style[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, scale, instance_norm(x))
