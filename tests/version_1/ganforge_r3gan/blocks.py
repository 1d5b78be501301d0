"""The one block of which both networks are made, and how its weights begin."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SLOPE = 0.2


class BiasedLeakyReLU(nn.Module):
    """Adds a number to each channel, then a leaky ReLU of slope 0.2: the networks have no other biases. Scriptable."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.slope = SLOPE  # TorchScript takes no numbers from around a module
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        return leaky_relu(x + self.bias.to(x.dtype)[:, None, None], self.slope)


class Block(nn.Module):
    """x + f(x), f a 1x1 convolution that widens, a grouped 3x3, and a 1x1 that narrows (section 4.2, config E).

    It is ConvNeXt's and ResNeXt's block without a norm. Its last convolution begins at 0, so that it begins as the
    identity, and the other two are smaller the more blocks there are (Zhang 2019, Fixup, arXiv:1901.09321). Scriptable.

    Args:
        channels: C, of its input and its output.
        expansion: How many times wider it is inside.
        group_width: Channels of a group; the inner width must be a multiple.
        num_blocks: Blocks of the whole network.
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
            initialise(layer, nn.init.calculate_gain("leaky_relu", SLOPE) * num_blocks**-0.25)
        initialise(self.layers[4], 0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        y: Tensor = x + self.layers(x)
        return y


def initialise(layer: nn.Module, gain: float = 1.0) -> None:
    """Draw a layer's weights from N(0, gain^2 / fan-in)."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    nn.init.normal_(weight, 0.0, gain * weight[0].numel() ** -0.5)
