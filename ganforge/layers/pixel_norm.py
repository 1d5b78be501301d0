"""Pixelwise feature normalization."""

from __future__ import annotations

from torch import Tensor, nn


class PixelNorm(nn.Module):
    """Divides each feature vector by its root mean square (Karras 2018, arXiv:1710.10196, section 4.2). Scriptable.

    `eps` is added to the mean square.
    """

    def __init__(self, eps: float = 1e-8) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``[N, C, ...]`` to mean square 1 over C."""
        return x * ((x * x).mean(1, keepdim=True) + self.eps).rsqrt().to(x.dtype)
