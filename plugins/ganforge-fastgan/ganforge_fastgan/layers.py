"""Layers of both networks. All convolutions have spectral normalization, and weights of N(0, 0.02)."""

from __future__ import annotations

import torch
from ganforge import DataSpec, NoiseInjection, map_sizes
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, glu
from torch.nn.utils.parametrizations import spectral_norm

DECODED = 4
"""Largest number of doublings from the smallest maps of the discriminator to the small image."""


class Sizes:
    """Sizes of maps by level: 0 is the smallest of `map_sizes`, each next one is twice as large.

    Attributes:
        maps: Height and width by level.
        last: Level of the image.
        small: Level of the small image, half of the image's size or less.
        factor: Size of the image as a multiple of the small one.
    """

    def __init__(self, data: DataSpec) -> None:
        self.maps = map_sizes(data, doublings=2, largest=1024)
        self.last = len(self.maps) - 1
        self.small = 1 + min(DECODED, self.last - 2)
        self.factor = 2 ** (self.last - self.small)


def convolve(before: int, after: int, size: int | tuple[int, int], stride: int = 1, *, pad: bool = True) -> nn.Module:
    """Return a convolution without bias; with `pad` it keeps the size of maps, divided by the stride."""
    padding = (size - 1) // 2 if pad and isinstance(size, int) else 0
    layer = nn.Conv2d(before, after, size, stride, padding, bias=False)
    nn.init.normal_(layer.weight, 0.0, 0.02)
    return spectral_norm(layer)


def normalize(channels: int) -> nn.Module:
    """Return batch normalization with weights of N(1, 0.02)."""
    layer = nn.BatchNorm2d(channels)
    nn.init.normal_(layer.weight, 1.0, 0.02)
    return layer


class GLU(nn.Module):
    """Gated linear unit: half of the channels, times the sigmoid of the others."""

    def forward(self, x: Tensor) -> Tensor:
        return glu(x, 1)


class Noise(nn.Module):
    """`NoiseInjection`: random in training, fixed in evaluation mode."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.noise = NoiseInjection(channels, size)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.noise(x, "random" if self.training else "fixed")
        return added


def double(before: int, after: int) -> list[nn.Module]:
    """Return upsampling, a convolution, batch normalization and a GLU."""
    return [nn.Upsample(scale_factor=2.0), convolve(before, 2 * after, 3), normalize(2 * after), GLU()]


def excitation(before: int, after: int, pooled: tuple[int, int]) -> nn.Sequential:
    """Return layers from small maps to a factor in (0, 1) per channel of large maps (section 3.1).

    Args:
        before: Channels of the small maps.
        after: Channels of the large maps.
        pooled: Height and width to which the small maps are averaged.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(pooled),
        convolve(before, after, pooled),
        nn.LeakyReLU(0.1),
        convolve(after, after, 1),
        nn.Sigmoid(),
    )


class Down(nn.Module):
    """Halves maps by a strided convolution and another one, plus a shortcut of average pooling; their mean."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *halve(before, after), convolve(after, after, 3), normalize(after), nn.LeakyReLU(0.2)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), convolve(before, after, 1), normalize(after), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, before, H, W]`` to ``[N, after, H/2, W/2]``."""
        mean: Tensor = (self.layers(x) + self.shortcut(x)) / 2
        return mean


def halve(before: int, after: int) -> list[nn.Module]:
    """Return a strided convolution, batch normalization and a leaky ReLU."""
    return [convolve(before, after, 4, 2), normalize(after), nn.LeakyReLU(0.2)]


def decoder(before: int, after: int, channels: int, doublings: int) -> nn.Sequential:
    """Return a small decoder from maps to images (section 3.2)."""
    layers: list[nn.Module] = []
    for level in range(doublings):
        narrower = max(1, after >> level)
        layers += double(before, narrower)
        before = narrower
    return nn.Sequential(*layers, convolve(before, channels, 3), nn.Tanh())


def shrink(images: Tensor, factor: int) -> Tensor:
    """Average squares of `factor` pixels."""
    return avg_pool2d(images, factor) if factor > 1 else images


def pick_quarter(maps: Tensor, below: Tensor, right: Tensor) -> Tensor:
    """Return a quarter of each map ``[N, C, H, W]``, chosen by booleans ``[N]``."""
    upper, lower = maps.chunk(2, 2)
    first, second = torch.where(below[:, None, None, None], lower, upper).chunk(2, 3)
    return torch.where(right[:, None, None, None], second, first)
