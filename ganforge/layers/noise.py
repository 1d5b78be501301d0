"""Noise inputs of generators."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOISE_MODES = ("random", "fixed", "none", "only-coarse", "only-fine")
"""Values of `noise` of a `StyleGenerator`."""


def layer_noise(noise: str, layer: int, num_layers: int) -> str:
    """Return the noise of one layer. Scriptable.

    Args:
        noise: One of `NOISE_MODES`; ``only-coarse`` and ``only-fine`` are fixed noise in half of the layers.
        layer: Index of the layer, 0 for the coarsest.
        num_layers: Number of layers with noise.

    Returns:
        ``random``, ``fixed`` or ``none``.

    Raises:
        ValueError: Unknown `noise`.
    """
    if noise in ["random", "fixed", "none"]:
        return noise
    if noise not in ["only-coarse", "only-fine"]:
        raise ValueError(f"noise={noise} is invalid; it must be random, fixed, none, only-coarse or only-fine")
    is_coarse = layer < num_layers // 2
    return "fixed" if is_coarse == (noise == "only-coarse") else "none"


class NoiseInjection(nn.Module):
    """Adds one map of Gaussian noise to all channels, scaled per channel (Karras 2019, arXiv:1812.04948). Scriptable.

    Scales are learned and start at 0.

    Args:
        channels: Number of channels C.
        size: Height and width of the fixed noise, a frozen parameter ``fixed``; one number for both.
        lr_multiplier: Learning rate of the scales relative to the optimizer's; stored scales are divided by it.
    """

    def __init__(self, channels: int, size: int | tuple[int, int], *, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.lr_multiplier = lr_multiplier
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))
        height, width = (size, size) if isinstance(size, int) else size
        self.fixed = nn.Parameter(torch.randn(1, 1, height, width), requires_grad=False)

    def forward(self, x: Tensor, noise: str = "random") -> Tensor:
        """Add noise to maps ``[N, C, H, W]``: ``random`` per image, ``fixed`` for all, or ``none``.

        Raises:
            ValueError: Unknown `noise`.
        """
        if noise == "none":
            return x
        strength = self.strength.to(x.dtype)
        if noise == "fixed":
            return torch.addcmul(x, strength, self.fixed.to(x.dtype), value=self.lr_multiplier)
        if noise != "random":
            raise ValueError(f"noise={noise} is invalid; it must be random, fixed or none")
        return torch.addcmul(x, strength, self.draw(x), value=self.lr_multiplier)

    def draw(self, x: Tensor) -> Tensor:
        """Draw noise ``[N, 1, H, W]`` for maps ``[N, C, H, W]``."""
        return torch.randn([x.shape[0], 1, x.shape[2], x.shape[3]], dtype=x.dtype, device=x.device)
