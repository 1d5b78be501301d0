"""Untrained network as a feature extractor, which needs no file and takes any images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, relu

from ganforge.contract.data import DataSpec
from ganforge.contract.extractor import Extractor

WIDTHS = (32, 64, 128, 256)
"""Channels of the convolutions, each at half the size of the one before."""


class RandomExtractor(Extractor):
    """Convolutions with random weights (Naeem 2020, arXiv:2002.09797, section 4.2), from a fixed seed.

    Features are the spatial means of all maps but the first. They represent colors, textures and small shapes, and
    have no bias towards photographs. What an object is, they do not know.

    Args:
        data: Images of any number of channels, of at least 8 pixels.
    """

    label = "random"
    preprocessing = "[-1, 1]"

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        if not data.is_image or min(data.shape[1:]) < 8:
            raise ValueError(f"extractor 'random' needs images of at least 8 pixels, not {list(data.shape)}")
        generator, channels = torch.Generator().manual_seed(0), data.shape[0]
        self.weights = nn.ParameterList()
        for width in WIDTHS:
            weight = torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
            self.weights.append(nn.Parameter(weight, requires_grad=False))
            channels = width

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """Return features float32 ``[N, 448]`` of images, uint8 ``[N, C, H, W]``."""
        maps, features = images.to(self.weights[0].dtype) / 127.5 - 1, []
        for index, weight in enumerate(self.weights):
            if index:
                maps = avg_pool2d(maps, 2)
            maps = relu(conv2d(maps, weight, padding=1))
            features.append(maps.mean((2, 3)))
        return torch.cat(features[1:], dim=1).float(), None
