"""Residual blocks for up- and downsampling (Miyato 2018, arXiv:1802.05957, appendix B.4, figures 8 and 9)."""

from __future__ import annotations

from ganforge import ConditionalBatchNorm2d, ConditionalSequential, RepeatPixels
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, relu
from torch.nn.utils.parametrizations import spectral_norm


def convolve(before: int, after: int, size: int, *, gain: float = 1.0, spectral: bool = True) -> nn.Module:
    """Return a convolution that keeps the size of maps, with Glorot weights times `gain`."""
    layer = nn.Conv2d(before, after, size, padding=size // 2)
    nn.init.xavier_uniform_(layer.weight, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return spectral_norm(layer) if spectral else layer


class UpBlock(nn.Module):
    """Upsampling residual block, compatible with TorchScript.

    Batch norm, ReLU, 2x upsampling and a 3x3 convolution, then the same without upsampling; a 1x1 shortcut.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        num_classes: Number of classes of conditional batch norm; 0 for plain batch norm.
        spectral: Whether convolutions have spectral normalization, as in SAGAN.
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
        """Map ``[N, before, H, W]``, and classes ``[N]``, to ``[N, after, 2H, 2W]``."""
        added: Tensor = self.two(self.one(x, labels), labels) + self.beside(x)
        return added


class DownBlock(nn.Module):
    """Downsampling residual block, compatible with TorchScript.

    ReLU and a 3x3 convolution twice, then average pooling; a 1x1 shortcut if size or channels change.

    Args:
        before: Channels of the input.
        after: Channels of the output.
        halves: Whether maps are halved.
        first: Whether the input is an image, which gets no ReLU.
    """

    def __init__(self, before: int, after: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.one = convolve(before, after, 3, gain=2**0.5)
        self.two = convolve(after, after, 3, gain=2**0.5)
        self.beside = convolve(before, after, 1) if halves or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, before, H, W]`` to ``[N, after, H/2, W/2]``, or to the same size."""
        y = self.two(relu(self.one(x if self.first else relu(x))))
        if self.halves:
            y = avg_pool2d(y, 2)
            # Pooling before the 1x1 convolution gives the same result and is cheaper.
            shortcut = self.beside(avg_pool2d(x, 2))
        else:
            shortcut = self.beside(x)
        added: Tensor = y + shortcut
        return added
