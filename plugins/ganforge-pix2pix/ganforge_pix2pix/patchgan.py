"""Patch discriminator on pairs of source and image."""

from __future__ import annotations

import torch
from ganforge import DataSpec, Discriminator
from torch import Tensor, nn

from ganforge_pix2pix.blocks import Normalization, initialize, normalize, require_pairs


class PatchGAN(Discriminator):
    """4x4 convolutions to a map of logits, one per patch; source and image are concatenated as channels.

    With three strided layers, as in the paper, a patch has 70 pixels, and an image of 256 pixels has 30 x 30 patches.

    Args:
        data: Images and sources of one size.
        width: Channels of the first maps; each smaller one has twice as many, up to 8 times.
        layers: Convolutions of stride 2; 1 gives patches of 16 pixels, 2 of 34, 3 of 70. None for 3, or fewer for
            small images.
        normalization: ``batch`` or ``instance``.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 64,
        layers: int | None = None,
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        require_pairs(data)
        if width < 1:
            raise ValueError(f"width={width} must be at least 1, such as 64")
        edge = min(data.shape[1:])
        most = (edge // 3).bit_length() - 1  # two convolutions of stride 1 follow, each of which removes one pixel
        if most < 1:
            raise ValueError(f"images have {edge} pixels along an edge, less than a patch; use --resolution 16")
        strided = min(3, most) if layers is None else layers
        if not 1 <= strided <= most:
            raise ValueError(f"layers={strided} must be from 1 to {most} for images of {edge} pixels")
        channels = data.source_shape[0] + data.shape[0]
        network: list[nn.Module] = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        before = width
        for level in range(1, strided + 1):
            after = width * min(2**level, 8)
            stride = 2 if level < strided else 1
            network += [nn.Conv2d(before, after, 4, stride=stride, padding=1, bias=False)]
            network += [normalize(normalization, after), nn.LeakyReLU(0.2)]
            before = after
        network.append(nn.Conv2d(before, 1, 4, padding=1))
        self.layers = nn.Sequential(*network)
        initialize(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N * P]`` of P patches per image, from images and sources ``[N, C, H, W]`` in [-1, 1]."""
        if labels is None:
            raise ValueError("this network classifies pairs: give the sources as labels")
        logits: Tensor = self.layers(torch.cat([labels, images], dim=1))
        return logits.flatten()
