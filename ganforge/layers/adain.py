"""A style sets how strong and how bright each feature map is."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import instance_norm

from ganforge.layers.equalized import EqualizedLinear


class AdaIN(nn.Module):
    """Adaptive instance normalisation (Huang and Belongie 2017; Karras 2019, arXiv:1812.04948, equation 1). Scriptable.

    Each map is brought to mean 0 and deviation 1 and then given those that a learned affine function reads from the
    style: y_s (x - mean(x)) / std(x) + y_b. Scales y_s begin around 1 and shifts y_b around 0.

    Args:
        channels: C of the maps.
        w_dim: Length of a style vector.
    """

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, 2 * channels)
        with torch.no_grad():
            self.affine.bias[:channels] = 1.0

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape, by styles ``[N, w_dim]``."""
        style: Tensor = self.affine(w)
        scale, shift = style[:, :, None, None].chunk(2, dim=1)
        return scale * instance_norm(x) + shift
