"""Both networks, at any power of two from 16 pixels on."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from ganforge import ConditionalDiscriminator, ConditionalSequential, DataSpec, Generator
from torch import Tensor, nn
from torch.nn.functional import relu
from torch.nn.utils.parametrizations import spectral_norm

from ganforge_sngan.attention import SelfAttention
from ganforge_sngan.blocks import DownBlock, UpBlock, convolve

NARROWS_ABOVE = 32
"""Maps larger than this have half as many channels at each doubling."""


def check(data: DataSpec, width: int) -> int:
    """The edge of the images.

    Raises:
        ValueError: They are not square with a power of two from 16 on; or a width that they cannot have.
    """
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}; use --arch mlp")
    _, height, pixels = data.shape
    if height != pixels or pixels < 16 or pixels & (pixels - 1):
        closest = max(16, 1 << min(height, pixels).bit_length() - 1)
        words = f"images are {pixels}x{height}, but must be square with a power of two from 16 on"
        raise ValueError(f"{words}; use --resolution {closest}")
    if width < 8 or width % 8 or width * NARROWS_ABOVE // max(pixels, NARROWS_ABOVE) < 8:
        raise ValueError(f"width={width} must be a multiple of 8, and large enough for {pixels} pixels, such as 256")
    return pixels


def channels_at(size: int, width: int) -> int:
    """Channels of maps of a size."""
    return width * NARROWS_ABOVE // max(size, NARROWS_ABOVE)


class SNGANGenerator(Generator):
    """A linear layer to 4 x 4, residual blocks that double, batch norm, ReLU, a 3x3 convolution and tanh.

    Args:
        data: Shape of an image: square, a power of two from 16 on.
        z_dim: Length of a latent vector.
        width: Channels of maps up to 32 x 32; each larger size has half as many.
        attention: Size of the maps at which self-attention is put in; 0 for none.
        spectral: Whether its weights are normalised too, as in SAGAN.
        conditioning: How classes enter: not at all, or by the scales and shifts of batch norm.
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
        pixels = check(data, width)
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        if conditioning != "none" and not data.num_classes:
            raise ValueError(f"conditioning={conditioning} needs labelled data, but these have no classes")
        sizes = [4 << level for level in range(pixels.bit_length() - 2)]
        require_size(attention, sizes[1:])
        self.z_dim = z_dim
        classes = data.num_classes if conditioning == "norm" else 0
        project = nn.Linear(z_dim, channels_at(4, width) * 4 * 4)
        self.project = spectral_norm(project) if spectral else project
        self.channels = channels_at(4, width)
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers.append(UpBlock(channels_at(before, width), channels_at(after, width), classes, spectral))
            if after == attention:
                layers.append(SelfAttention(channels_at(after, width)))
        self.layers = ConditionalSequential(*layers)
        self.norm = nn.BatchNorm2d(channels_at(pixels, width))
        self.draw = convolve(channels_at(pixels, width), data.shape[0], 3, spectral=spectral)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents ``[N, z_dim]``, and classes ``[N]`` if it is conditional, to images ``[N, C, H, W]`` in [-1, 1]."""
        maps = self.project(z).view(len(z), self.channels, 4, 4)
        images: Tensor = self.draw(relu(self.norm(self.layers(maps, labels)))).tanh()
        return images


class SNGANDiscriminator(ConditionalDiscriminator):
    """Residual blocks that halve down to 8 x 8, two that keep the size, ReLU, the sum over places, and a linear layer.

    All weights are divided by their largest singular value (Miyato 2018).

    Args:
        data: Shape of an image: square, a power of two from 16 on.
        width: Channels of maps up to 32 x 32; each larger size has half as many.
        attention: Size of the maps at which self-attention is put in; 0 for none.
        conditioning: How classes enter: not at all, or by projection (Miyato and Koyama 2018).
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 128,
        attention: int = 0,
        conditioning: Literal["none", "projection"] = "none",
    ) -> None:
        pixels = check(data, width)
        super().__init__(data, conditioning, width)
        sizes = [pixels >> level for level in range(pixels.bit_length() - 3)]  # down to 8
        require_size(attention, sizes[1:])
        layers: list[nn.Module] = []
        channels = data.shape[0]
        for size, halved in pairwise(sizes):
            layers.append(DownBlock(channels, channels_at(halved, width), halves=True, first=size == pixels))
            channels = channels_at(halved, width)
            if halved == attention:
                layers.append(SelfAttention(channels))
        layers += [DownBlock(width, width, halves=False), DownBlock(width, width, halves=False)]
        self.layers = nn.Sequential(*layers)
        self.judge = spectral_norm(nn.Linear(width, 1))
        if self.projection is not None:
            spectral_norm(self.projection)

    def hidden(self, examples: Tensor) -> Tensor:
        """The last hidden layer ``[N, F]``."""
        features: Tensor = relu(self.layers(examples)).sum((2, 3))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[N]``."""
        logits: Tensor = self.judge(features).squeeze(1)
        return logits


def require_size(attention: int, sizes: list[int]) -> None:
    """Refuse self-attention at a size that there is not."""
    if attention and attention not in sizes:
        raise ValueError(f"attention={attention}: there are no maps of that size; choose of {sizes}, or 0 for none")
