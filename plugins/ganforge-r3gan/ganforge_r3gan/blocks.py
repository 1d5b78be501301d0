"""Residual block of both networks, and its initialization."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.2


class BiasedLeakyReLU(nn.Module):
    """Bias per channel and leaky ReLU of slope 0.2, compatible with TorchScript; the only biases of the networks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slope = SLOPE  # TorchScript reads no module-level constants
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x + self.bias.to(x.dtype)[:, None, None], self.slope)


class Block(nn.Module):
    """Inverted bottleneck x + f(x): 1x1, grouped 3x3 and 1x1 convolutions (section 4.2, config E), for TorchScript.

    It is the block of ConvNeXt and ResNeXt without normalization, with Fixup initialization (Zhang 2019,
    arXiv:1901.09321). The last convolution starts at 0, so that the block starts as the identity.

    Args:
        channels: Channels C of input and output.
        expansion: Ratio of inner channels to C.
        group_width: Channels per group; must divide the inner channels.
        num_blocks: Number of blocks of the whole network.
    """

    def __init__(self, channels: int, *, expansion: int, group_width: int, num_blocks: int) -> None:
        super().__init__()
        inner = channels * expansion
        self.layers = nn.Sequential(
            nn.Conv2d(channels, inner, 1, bias=False),
            BiasedLeakyReLU(inner),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner // group_width, bias=False),
            BiasedLeakyReLU(inner),
            nn.Conv2d(inner, channels, 1, bias=False),
        )
        # Fixup's L^(-1 / (2m - 2)) for m = 3 layers.
        for layer in (self.layers[0], self.layers[2]):
            initialize(layer, nn.init.calculate_gain("leaky_relu", SLOPE) * num_blocks**-0.25)
        initialize(self.layers[4], 0.0)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def initialize(layer: nn.Module, gain: float = 1.0) -> None:
    """Draw a layer's weights from N(0, gain^2 / fan-in)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    nn.init.normal_(weight, 0.0, gain * weight[0].numel() ** -0.5)
