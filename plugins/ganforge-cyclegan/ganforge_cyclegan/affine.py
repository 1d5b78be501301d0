"""Learned affine map of images, for changes of geometry, which convolutions learn badly."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Affine(nn.Module):
    """Rotates, shears, scales and shifts all images alike, by a map that starts as the identity and is trained.

    A pass along rows and one along columns interpolate linearly; beyond the border is the nearest pixel. Both are
    products with matrices, so their gradients are deterministic on every device. Maps of more than about 60 degrees are
    out of reach.
    """

    def __init__(self) -> None:
        super().__init__()
        self.speed = 10.0  # scales and shears need larger steps than weights
        self.rows = nn.Parameter(torch.zeros(3))
        self.columns = nn.Parameter(torch.zeros(3))

    def forward(self, images: Tensor) -> Tensor:
        """Map images ``[N, C, H, W]``."""
        images = self.move(images, self.rows)
        return self.move(images.transpose(2, 3), self.columns).transpose(2, 3)

    def move(self, images: Tensor, numbers: Tensor) -> Tensor:
        """Move pixels along rows, by a scale less 1, a shear, and a shift relative to half the width."""
        height, width = images.shape[2], images.shape[3]
        scale, shear, shift = (self.speed * numbers).unbind()
        half = (width - 1) / 2
        x = torch.arange(width, device=images.device) - half
        y = torch.arange(height, device=images.device) - (height - 1) / 2
        places = ((1 + scale) * x + shear * y[:, None] + (shift + 1) * half).clamp(0, width - 1)
        left = places.detach().floor().clamp(max=width - 2)
        share = (places - left)[:, :, None]
        steps = torch.arange(width, device=images.device) - left[:, :, None]
        weights = (steps == 0) * (1 - share) + (steps == 1) * share  # [H, W, W]
        return torch.einsum("nchw,hvw->nchv", images, weights.to(images.dtype))
