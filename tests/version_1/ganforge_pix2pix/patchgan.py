"""The discriminator: is each patch of an image real, beside the image that it was made of?"""

from __future__ import annotations

import torch
from ganforge import DataSpec, Discriminator
from torch import Tensor, nn

from ganforge_pix2pix.blocks import Normalization, initialise, normalize, require_pairs


class PatchGAN(Discriminator):
    """4x4 convolutions to a map of logits, one for each patch; source and image lie above each other as channels.

    With the paper's three strided layers a patch is 70 pixels wide, and an image of 256 pixels has 30 x 30 of them.

    Args:
        data: Images and sources of one size.
        width: Channels of the first maps; each smaller one has twice as many, up to 8 times.
        layers: Convolutions of stride 2, which say how large a patch is: 1 for 16 pixels, 2 for 34, 3 for 70. None for
            3, or for as many as small images allow.
        normalization: ``batch``, or ``instance``, of each image by itself.
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
        most = (edge // 3).bit_length() - 1  # two convolutions of stride 1 follow, each of which takes one pixel off
        if most < 1:
            raise ValueError(f"images are {edge} pixels along an edge, which is less than a patch; use --resolution 16")
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
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge patches.

        Args:
            images: ``[N, C, H, W]`` in [-1, 1].
            labels: Their sources ``[N, S, H, W]`` in [-1, 1].

        Returns:
            Logits ``[N * P]``, the P patches of an image behind each other.

        Raises:
            ValueError: There are no sources.
        """
        if labels is None:
            raise ValueError("this network judges pairs: give the sources as labels")
        logits: Tensor = self.layers(torch.cat([labels, images], dim=1))
        return logits.flatten()
