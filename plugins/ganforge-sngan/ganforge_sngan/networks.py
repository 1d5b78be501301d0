"""Generator and discriminator.

Sizes of maps are those for square images of a power of two: 4 is the smallest size of `ganforge.map_sizes`, 8 the next.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from ganforge import ConditionalDiscriminator, ConditionalSequential, DataSpec, Generator, map_sizes
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from ganforge_sngan.attention import SelfAttention
from ganforge_sngan.blocks import DownBlock, UpBlock, convolve

NARROWS_ABOVE = 32
"""Size of maps, above which each doubling halves the channels."""


def read_sizes(data: DataSpec, width: int) -> list[int]:
    """Return the sizes of maps from 4 to the images.

    Raises:
        ValueError: Images of an unsupported size, or an invalid width.
    """
    sizes = [4 << level for level in range(len(map_sizes(data, doublings=2)))]
    if width < 8 or width % 8 or channels_at(sizes[-1], width) < 8:
        _, height, pixels = data.shape
        words = f"width={width} must be a multiple of 8, and large enough for images of {pixels}x{height}"
        raise ValueError(f"{words}, such as 256")
    return sizes


def channels_at(size: int, width: int) -> int:
    """Return the channels of maps of a size."""
    return width * NARROWS_ABOVE // max(size, NARROWS_ABOVE)


class SNGANGenerator(Generator):
    """Generator: a linear layer to maps, upsampling residual blocks, batch norm, ReLU, a 3x3 convolution and tanh.

    Args:
        data: Shape of an image, of a size that `map_sizes` takes, with two doublings or more.
        z_dim: Length of a latent vector.
        width: Channels of maps up to 32; each larger size has half as many.
        attention: Size of the maps with self-attention; 0 for none.
        spectral: Whether weights have spectral normalization, as in SAGAN.
        conditioning: Conditioning method: none, or conditional batch norm.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 128,
        width: int = 256,
        attention: int = 0,
        spectral: bool = False,
        conditioning: Literal["none", "norm"] = "none",
    ) -> None:
        super().__init__()
        sizes = read_sizes(data, width)
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        if conditioning != "none" and not data.num_classes:
            raise ValueError(f"conditioning={conditioning} needs labeled data, but these have no classes")
        require_size(attention, sizes[1:])
        self.z_dim = z_dim
        classes = data.num_classes if conditioning == "norm" else 0
        self.smallest = map_sizes(data)[0]
        project = nn.Linear(z_dim, channels_at(4, width) * math.prod(self.smallest))
        self.project = spectral_norm(project) if spectral else project
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers.append(UpBlock(channels_at(before, width), channels_at(after, width), classes, spectral))
            if after == attention:
                layers.append(SelfAttention(channels_at(after, width)))
        self.layers = ConditionalSequential(*layers)
        self.norm = nn.BatchNorm2d(channels_at(sizes[-1], width))
        self.draw = convolve(channels_at(sizes[-1], width), data.shape[0], 3, spectral=spectral)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.project(z).view(len(z), -1, self.smallest[0], self.smallest[1])
        images: Tensor = self.draw(relu(self.norm(self.layers(maps, labels)))).tanh()
        return images


class SNGANDiscriminator(ConditionalDiscriminator):
    """Discriminator: downsampling residual blocks to size 8, two more, ReLU, the sum over pixels, and a linear layer.

    All weights have spectral normalization (Miyato 2018).

    Args:
        data: Shape of an image, of a size that `map_sizes` takes, with two doublings or more.
        width: Channels of maps up to 32; each larger size has half as many.
        attention: Size of the maps with self-attention; 0 for none.
        conditioning: Conditioning method: none, or projection (Miyato and Koyama 2018).
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 128,
        attention: int = 0,
        conditioning: Literal["none", "projection"] = "none",
    ) -> None:
        sizes = read_sizes(data, width)[:0:-1]  # down to 8
        super().__init__(data, conditioning, width)
        require_size(attention, sizes[1:])
        layers: list[nn.Module] = []
        channels = data.shape[0]
        for size, halved in pairwise(sizes):
            layers.append(DownBlock(channels, channels_at(halved, width), halves=True, first=size == sizes[0]))
            channels = channels_at(halved, width)
            if halved == attention:
                layers.append(SelfAttention(channels))
        layers += [DownBlock(width, width, halves=False), DownBlock(width, width, halves=False)]
        self.layers = nn.Sequential(*layers)
        self.judge = spectral_norm(nn.Linear(width, 1))
        if self.projection is not None:
            spectral_norm(self.projection)

    def hidden(self, examples: Tensor) -> Tensor:
        features: Tensor = relu(self.layers(examples)).sum((2, 3))
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.judge(features).squeeze(1)
        return logits


def require_size(attention: int, sizes: list[int]) -> None:
    """Raise ValueError if no maps have the size of self-attention."""
    if attention and attention not in sizes:
        raise ValueError(f"attention={attention}: no maps have that size; choose one of {sizes}, or 0 for none")
