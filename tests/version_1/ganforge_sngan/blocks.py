"""Residual blocks that double or halve maps (Miyato 2018, arXiv:1802.05957, appendix B.4, figures 8 and 9)."""

from __future__ import annotations

from ganforge import ConditionalBatchNorm2d, ConditionalSequential, RepeatPixels
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu
from torch.nn.utils.parametrizations import spectral_norm


def convolve(before: int, after: int, size: int, *, gain: float = 1.0, spectral: bool = True) -> nn.Module:
    """A convolution that keeps the size of maps, with weights as Glorot draws them times a gain."""
    layer = nn.Conv2d(before, after, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


class UpBlock(nn.Module):
    """Batch norm, ReLU, doubling and a 3x3 convolution, then all but doubling again; beside them 1x1. Scriptable.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        num_classes: If there are any, scales and shifts of batch norm are theirs.
        spectral: Whether its convolutions are normalised too, as in SAGAN.
    """

    def __init__(self, before: int, after: int, num_classes: int, spectral: bool) -> None:
        super().__init__()
        self.takes_labels = True

        def norm(channels: int) -> nn.Module:
            return ConditionalBatchNorm2d(channels, num_classes) if num_classes else nn.BatchNorm2d(channels)

        def three(before: int) -> nn.Module:
            return convolve(before, after, 3, gain=2**0.5, spectral=spectral)

        self.one = ConditionalSequential(norm(before), nn.ReLU(), RepeatPixels(), three(before))
        self.two = ConditionalSequential(norm(after), nn.ReLU(), three(after))
        self.beside = nn.Sequential(RepeatPixels(), convolve(before, after, 1, spectral=spectral))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Maps ``[N, before, H, W]``, and classes ``[N]``, to ``[N, after, 2H, 2W]``."""
        added: Tensor = self.two(self.one(x, labels), labels) + self.beside(x)
        return added


class DownBlock(nn.Module):
    """ReLU and a 3x3 convolution twice, then halving; beside them a 1x1 convolution, if anything changes. Scriptable.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        halves: Whether maps are halved.
        first: Whether its input is an image, which no ReLU is to see.
    """

    def __init__(self, before: int, after: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.starts = halves, first
        self.one = convolve(before, after, 3, gain=2**0.5)
        self.two = convolve(after, after, 3, gain=2**0.5)
        self.beside = convolve(before, after, 1) if halves or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, before, H, W]`` to ``[N, after, H/2, W/2]``, or of the same size."""
        y = self.two(relu(self.one(x if self.starts else relu(x))))
        if self.halves:
            y = avg_pool2d(y, 2)
            # Halving an image before its 1x1 convolution is the same, and cheaper.
            shortcut = self.beside(avg_pool2d(x, 2))
        else:
            shortcut = self.beside(x)
        added: Tensor = y + shortcut
        return added
