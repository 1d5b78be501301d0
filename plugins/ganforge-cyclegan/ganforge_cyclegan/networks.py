"""Translator and patch discriminator of the paper's appendix 7.2."""

from __future__ import annotations

import torch
from ganforge import DataSpec, Discriminator, Generator
from torch import Tensor, nn

from ganforge_cyclegan.affine import Affine


def _convolve(channels_in: int, channels_out: int, size: int, stride: int = 1) -> list[nn.Module]:
    """Return reflection padding, a convolution, and instance normalization."""
    padding = [nn.ReflectionPad2d(size // 2)] if stride == 1 else []
    layer = nn.Conv2d(channels_in, channels_out, size, stride, padding=0 if padding else size // 2)
    return [*padding, layer, nn.InstanceNorm2d(channels_out)]


def _initialize(network: nn.Module) -> None:
    for each in network.modules():
        if isinstance(each, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(each.weight, 0.0, 0.02)
            if each.bias is not None:
                nn.init.zeros_(each.bias)


class Residual(nn.Module):
    """Two convolutions beside a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_convolve(channels, channels, 3), nn.ReLU(), *_convolve(channels, channels, 3))

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.layers(x)
        return x + maps


class Translator(Generator):
    """Convolutions to a quarter of the size, residual blocks, and transposed convolutions back.

    Args:
        data: Images and sources of one size, at least 8 pixels, a multiple of 4.
        width: Channels at full size.
        blocks: Residual blocks; 9 in the paper for 256 pixels, 6 for 128.
        affine: Whether a learned affine map of sources comes first, for changes of geometry such as rotation.
    """

    def __init__(self, data: DataSpec, *, width: int = 64, blocks: int = 6, affine: bool = False) -> None:
        super().__init__()
        if not data.source_shape:
            raise ValueError("needs sources: add --set data.sources=FOLDER")
        if data.source_shape[1:] != data.shape[1:] or any(edge % 4 or edge < 8 for edge in data.shape[1:]):
            raise ValueError(
                f"images {data.shape} and sources {data.source_shape} must have one size, a multiple of 4 from 8; "
                "give one with --resolution"
            )
        self.z_dim = 1  # nothing is random
        layers = [*[Affine()] * affine, *_convolve(data.source_shape[0], width, 7), nn.ReLU()]
        for channels in (width, 2 * width):
            layers += [*_convolve(channels, 2 * channels, 3, stride=2), nn.ReLU()]
        layers += [Residual(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            up = nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, nn.InstanceNorm2d(channels // 2), nn.ReLU()]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, data.shape[0], 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _initialize(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Translate sources ``[N, C, H, W]``; `z` only counts them."""
        if labels is None:
            raise ValueError("this network translates images: give them as labels")
        images: Tensor = self.layers(labels)
        return images


class Patches(Discriminator):
    """One logit for each overlapping patch; it does not see sources.

    Args:
        data: Images.
        width: Channels of the first maps; each smaller one has twice as many, up to 8 times.
        layers: Convolutions of stride 2: patches have 70 pixels with 3, as in the paper, 34 with 2, 16 with 1. None for
            3, or fewer for small images.
    """

    def __init__(self, data: DataSpec, *, width: int = 64, layers: int | None = None) -> None:
        super().__init__()
        strided = min(3, max(1, (min(data.shape[1:]) // 3).bit_length() - 2)) if layers is None else layers
        network: list[nn.Module] = [nn.Conv2d(data.shape[0], width, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = width
        for level in range(1, strided + 1):
            after = width * min(2**level, 8)
            network += [nn.Conv2d(before, after, 4, 2 if level < strided else 1, 1)]
            network += [nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
            before = after
        self.layers = nn.Sequential(*network, nn.Conv2d(before, 1, 4, padding=1))
        _initialize(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N * P]`` of P patches per image ``[N, C, H, W]``."""
        logits: Tensor = self.layers(images)
        return torch.flatten(logits)
