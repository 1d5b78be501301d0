"""Discriminators on random projections of frozen features (sections 3.2 and 4)."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from ganforge import DataSpec, Discriminator
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.parametrizations import spectral_norm

from ganforge_projected.features import FeatureNetwork

_SMALLEST = 4
"""Edge of the maps of logits, in pixels, where features are larger."""


class Projection(nn.Module):
    """Frozen random mixing of maps: across channels by 1x1 convolutions, then across scales, from coarse to fine.

    Args:
        channels_in: Channels of the maps, from the largest.
        channels_out: Channels of the mixed maps.
    """

    def __init__(self, channels_in: list[int], channels_out: list[int]) -> None:
        super().__init__()
        self.across_channels = nn.ModuleList(
            nn.Conv2d(*sizes, 1, bias=False) for sizes in zip(channels_in, channels_out, strict=True)
        )
        self.across_scales = nn.ModuleList(
            nn.Conv2d(coarse, fine, 3, padding=1, bias=False) for fine, coarse in pairwise(channels_out)
        )
        for each in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(each.weight, nonlinearity="linear")
        self.eval().requires_grad_(False)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Return mixed maps, the largest first."""
        mixed = [mix(each) for mix, each in zip(self.across_channels, maps, strict=True)]
        for level in reversed(range(len(mixed) - 1)):
            coarse = interpolate(mixed[level + 1], mixed[level].shape[2:], mode="bilinear", align_corners=False)
            mixed[level] = mixed[level] + self.across_scales[level](coarse)
        return mixed


class ProjectedDiscriminator(Discriminator):
    """Four discriminators, each on maps of one scale of a frozen network, mixed at random.

    Classes are not used. The weights are read from a file of named tensors; nothing of it is executed.

    Args:
        data: Images of 1 channel, which is repeated, or of 3.
        network: Classification network of torchvision, such as ``efficientnet_b0``.
        weights: Safetensors file of the network's weights.
        size: Shorter edge to which images are resized, bilinearly; None for 224, or their own if larger.
        channels: Channels of the largest mixed maps, doubled at each smaller scale.
        max_width: Maximum number of channels in a discriminator.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        network: str = "resnet18",
        weights: str = "",
        size: int | None = None,
        channels: int = 64,
        max_width: int = 512,
    ) -> None:
        super().__init__()
        if not data.is_image or data.shape[0] not in (1, 3):
            raise ValueError(f"needs images of 1 or 3 channels, but examples are {data.shape}")
        if channels < 1 or max_width < 1 or (size is not None and size < 1):
            raise ValueError(f"channels={channels}, max_width={max_width} and size={size} must be at least 1")
        self.features = FeatureNetwork(network, weights, size or max(224, min(data.shape[1:])))
        mixed = [channels * 2**level for level in range(len(self.features.channels))]
        self.weights_sha256 = self.features.weights_sha256
        self.projection = Projection(self.features.channels, mixed)
        with torch.no_grad():
            maps = self.features(torch.zeros(1, 3, *data.shape[1:]))
        self.heads = nn.ModuleList(
            _make_head(width, min(each.shape[2:]), max_width) for width, each in zip(mixed, maps, strict=True)
        )
        with torch.no_grad():
            counts = [math.prod(each.shape[1:]) for each in self._judge(torch.zeros(2, *data.shape))]
        self.scales = tuple((count, 1.0) for count in counts)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N * P]`` of all scales, from images ``[N, C, H, W]``."""
        return torch.cat([each.flatten(1) for each in self._judge(images)], dim=1).flatten()

    def _judge(self, images: Tensor) -> list[Tensor]:
        maps = self.projection(self.features(images.expand(-1, 3, -1, -1)))
        return [head(each) for head, each in zip(self.heads, maps, strict=True)]


def _make_head(channels: int, edge: int, max_width: int) -> nn.Sequential:
    """Return a discriminator of maps: convolutions of stride 2 to logits of 4x4, all with spectral norm."""
    layers: list[nn.Module] = []
    while edge > _SMALLEST or not layers:
        width = min(2 * channels, max_width)
        is_large = edge > _SMALLEST
        layer = nn.Conv2d(channels, width, 4, 2, 1) if is_large else nn.Conv2d(channels, width, 3, 1, 1)
        layers += [spectral_norm(layer), nn.LeakyReLU(0.2)]
        channels, edge = width, edge // 2 if is_large else edge
    return nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, 3, 1, 1)))
