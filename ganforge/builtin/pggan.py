"""Progressive GAN (Karras, Aila, Laine and Lehtinen 2018, arXiv:1710.10196): images of up to 1024 pixels, grown
from their smallest maps.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ganforge import (
    DataSpec,
    Discriminator,
    EqualizedConv2d,
    EqualizedLinear,
    Generator,
    MinibatchStatistics,
    PixelNorm,
    ProgressiveGenerator,
    Recipe,
    Recomputable,
    StandardizeLabels,
    hookimpl,
    join_labels,
    label_dim,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size
from ganforge.builtin.stylegan_layers import RELU_GAIN, PyramidDiscriminator, make_growth, make_small_pixels


def _convolve(channels_in: int, channels_out: int, resample: Literal["none", "up"] = "none") -> list[nn.Module]:
    """Return a generator's convolution with pixelwise normalization."""
    convolution = EqualizedConv2d(channels_in, channels_out, 3, gain=RELU_GAIN, resample=resample)
    return [convolution, nn.LeakyReLU(0.2), PixelNorm()]


def _halve(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a discriminator's block: two convolutions, then averages of 2 x 2 pixels."""
    layers: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        layers += [EqualizedConv2d(channels_in, channels, 3, gain=RELU_GAIN), nn.LeakyReLU(0.2)]
    return [*layers, nn.AvgPool2d(2)]


class PGGANGenerator(Generator, ProgressiveGenerator, Recomputable):
    """Normalized latents, a dense layer to maps, and two convolutions at each size with pixelwise normalization.

    A tanh limits the range; the paper ends in a linear layer.

    Args:
        data: Shape of an image: any number of channels, a size that `map_sizes` takes, up to 1024 pixels.
        z_dim: Length of a latent vector; the paper has 512.
        width: Channels of the largest maps, 16 at 1024 pixels in the paper, doubled at each smaller size.
        max_width: Maximum number of channels.
        conditioning: Conditioning: none, or labels joined to latents.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 256,
        width: int = 16,
        max_width: int = 512,
        conditioning: Literal["none", "input"] = "none",
        growing: bool = True,
        start_resolution: int = 4,
        stage_images: int = 800_000,
        fade_images: int = 800_000,
    ) -> None:
        super().__init__()
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        channels = channels_by_size(data, width, max_width, largest=1024)[::-1]
        self.z_dim = z_dim
        self.smallest = map_sizes(data)[0]
        self.label_dim = label_dim(data, conditioning)
        self.standardize = StandardizeLabels(data)
        self.normalize = PixelNorm()
        self.dense = EqualizedLinear(z_dim + self.label_dim, channels[0] * math.prod(self.smallest), gain=RELU_GAIN)
        blocks = [nn.Sequential(nn.LeakyReLU(0.2), PixelNorm(), *_convolve(channels[0], channels[0]))]
        for channels_in, channels_out in pairwise(channels):
            up = _convolve(channels_in, channels_out, "up")
            blocks.append(nn.Sequential(*up, *_convolve(channels_out, channels_out)))
        self.blocks = nn.ModuleList(blocks)
        self.to_pixels = EqualizedConv2d(channels[-1], data.shape[0], 1)
        self.growth = make_growth(data, growing, start_resolution, stage_images, fade_images)
        self.small_pixels = make_small_pixels(data, channels, self.growth)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x: Tensor = self.dense(join_labels(self.normalize(z), self.standardize(labels), self.label_dim))
        x = x.view(z.shape[0], -1, self.smallest[0], self.smallest[1])
        maps: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            if level < self.growth.num_sizes:
                x = block(x)
                maps.append(x)
        return self.draw(maps).tanh()

    def recomputable(self) -> list[nn.Module]:
        return list(self.blocks)


class PGGANDiscriminator(PyramidDiscriminator):
    """Mirrored generator: two convolutions at each size, then averages of 2 x 2 pixels, and a logit."""

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 16,
        max_width: int = 512,
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint"] = "none",
        minibatch: MinibatchStatistics = "none",
        growing: bool = True,
        start_resolution: int = 4,
        stage_images: int = 800_000,
        fade_images: int = 800_000,
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)
        growth = make_growth(data, growing, start_resolution, stage_images, fade_images)
        super().__init__(data, _halve, channels, growth, conditioning=conditioning, minibatch=minibatch)


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"pggan": PGGANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"pggan": PGGANDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    stages = {"stage_images": 20_000, "fade_images": 20_000}
    return {
        "pggan": Recipe(
            summary="Progressive growing: networks start at 4 x 4 pixels and double their resolution in training.",
            source="Karras, Aila, Laine and Lehtinen 2018, Progressive Growing of GANs for Improved Quality, "
            "Stability, and Variation, arXiv:1710.10196",
            settings={
                # A fortieth of the paper's 800k, for smaller data and budgets.
                "generator": {"name": "pggan", **stages},
                "discriminator": {"name": "pggan", "minibatch": "deviation", **stages},
                "loss": {"name": "wasserstein"},
                "regularizers": {"gp": {"weight": 10}, "drift": {"weight": 0.001}},
                "optimizer": {"generator_lr": 1e-3, "discriminator_lr": 1e-3, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 16, "ema_images": 10_000},
            },
        )
    }
