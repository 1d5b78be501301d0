"""Noise within a generator: what is left to chance in an image, apart from its latent vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOISE_MODES = ("random", "fixed", "none", "only-coarse", "only-fine")
"""What a `StyleGenerator` may be asked for; see `layer_noise`."""


def layer_noise(noise: str, layer: int, num_layers: int) -> str:
    """The noise of one layer, where that of a network is asked for. Scriptable.

    Args:
        noise: One of `NOISE_MODES`; the last two are fixed noise in the coarser or the finer half of the layers alone.
        layer: Number of the layer, from 0 for the coarsest.
        num_layers: Number of layers with noise.

    Returns:
        ``random``, ``fixed`` or ``none``.

    Raises:
        ValueError: There is no such noise.
    """
    if noise in ["random", "fixed", "none"]:
        return noise
    if noise not in ["only-coarse", "only-fine"]:
        raise ValueError(f"noise={noise} is invalid; it must be random, fixed, none, only-coarse or only-fine")
    is_coarse = layer < num_layers // 2
    return "fixed" if is_coarse == (noise == "only-coarse") else "none"


class NoiseInjection(nn.Module):
    """Adds one map of normal noise to all channels, each by its learned strength (Karras 2019, arXiv:1812.04948).

    Strengths begin at 0. Scriptable.

    Args:
        channels: C of the maps.
        size: Their height and width, for the fixed noise, which is kept in the buffer ``fixed`` and saved.
        lr_multiplier: Speed at which strengths learn, relative to the optimiser's; they are kept divided by it.
    """

    def __init__(self, channels: int, size: int, *, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.lr_multiplier = lr_multiplier
        self.strength = nn.Parameter(torch.zeros(channels, 1, 1))
        self.fixed: Tensor
        self.register_buffer("fixed", torch.randn(1, 1, size, size))

    def forward(self, x: Tensor, noise: str = "random") -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape; noise is ``random`` for each image, ``fixed`` for all, or ``none``.

        Raises:
            ValueError: There is no such noise.
        """
        if noise == "none":
            return x
        strength = (self.strength * self.lr_multiplier).to(x.dtype)
        if noise == "fixed":
            return torch.addcmul(x, strength, self.fixed.to(x.dtype))
        if noise != "random":
            raise ValueError(f"noise={noise} is invalid; it must be random, fixed or none")
        drawn = torch.randn([x.shape[0], 1, x.shape[2], x.shape[3]], dtype=x.dtype, device=x.device)
        return torch.addcmul(x, strength, drawn)
