"""StyleGAN (Karras, Laine and Aila 2019, arXiv:1812.04948) for images of up to 1024 pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge import (
    Blur,
    DataSpec,
    Discriminator,
    EqualizedConv2d,
    Generator,
    MinibatchStatistics,
    ProgressiveGenerator,
    Recipe,
    hookimpl,
    layer_noise,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size
from ganforge.builtin.style_mixing import MixingGenerator
from ganforge.builtin.stylegan_layers import (
    RELU_GAIN,
    PyramidDiscriminator,
    StyledLayer,
    make_growth,
    make_small_pixels,
)

PIXEL_GAIN = 0.25
"""Initial images are near gray: a saturated tanh has no gradient."""


class StyleGANGenerator(MixingGenerator, ProgressiveGenerator):
    """Learned constant of the smallest size, two styled convolutions at each size, and a convolution to pixels.

    A tanh limits the range; the paper ends in a linear layer.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 256,
        w_dim: int = 256,
        width: int = 16,
        max_width: int = 512,
        mapping_layers: int = 8,
        mixing: float = 0.9,
        conditioning: Literal["none", "input"] = "none",
        growing: bool = False,
        start_resolution: int = 8,
        stage_images: int = 800_000,
        fade_images: int = 800_000,
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)[::-1]
        super().__init__(data, 2 * len(channels), z_dim, w_dim, mapping_layers, mixing, conditioning)
        sizes = map_sizes(data)
        # Varies over its pixels, since AdaIN removes constants.
        self.constant = nn.Parameter(torch.randn(1, channels[0], *sizes[0]))
        layers = [StyledLayer(nn.Identity(), channels[0], sizes[0], w_dim), self._convolve(channels[0], sizes[0])]
        for size, (channels_in, channels_out) in zip(sizes[1:], pairwise(channels), strict=True):
            up = EqualizedConv2d(channels_in, channels_out, 3, gain=RELU_GAIN, resample="up")
            # The blur commutes with the convolution, and has fewer channels after it.
            layers.append(StyledLayer(nn.Sequential(up, Blur()), channels_out, size, w_dim))
            layers.append(self._convolve(channels_out, size))
        self.layers = nn.ModuleList(layers)
        self.to_pixels = EqualizedConv2d(channels[-1], data.shape[0], 1, gain=PIXEL_GAIN)
        self.growth = make_growth(data, growing, start_resolution, stage_images, fade_images)
        self.small_pixels = make_small_pixels(data, channels, self.growth, PIXEL_GAIN)

    def _convolve(self, channels: int, size: tuple[int, int]) -> StyledLayer:
        return StyledLayer(EqualizedConv2d(channels, channels, 3, gain=RELU_GAIN), channels, size, self.w_dim)

    def used_styles(self) -> int:
        return 2 * self.growth.num_sizes

    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        if self.training:
            noise = "random"
        x = self.constant.expand(w.shape[0], -1, -1, -1)
        styles = w.unbind(1)
        maps: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            if index < self.used_styles():
                x = layer(x, styles[index], layer_noise(noise, index, self.num_styles))
                if index % 2 == 1:
                    maps.append(x)
        return self.draw(maps).tanh()


def _halve(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a convolution, a blur, and a downsampling convolution."""
    same = EqualizedConv2d(channels_in, channels_in, 3, gain=RELU_GAIN)
    down = EqualizedConv2d(channels_in, channels_out, 3, gain=RELU_GAIN, resample="down")
    return [same, nn.LeakyReLU(0.2, inplace=True), Blur(), down, nn.LeakyReLU(0.2, inplace=True)]


class StyleGANDiscriminator(PyramidDiscriminator):
    """Discriminator of the progressive GAN (Karras 2018, arXiv:1710.10196) at full size, with blur as in StyleGAN."""

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 16,
        max_width: int = 512,
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint"] = "none",
        minibatch: MinibatchStatistics = "none",
        growing: bool = False,
        start_resolution: int = 8,
        stage_images: int = 800_000,
        fade_images: int = 800_000,
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)
        growth = make_growth(data, growing, start_resolution, stage_images, fade_images)
        super().__init__(data, _halve, channels, growth, conditioning=conditioning, minibatch=minibatch)


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"stylegan": StyleGANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"stylegan": StyleGANDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "stylegan": Recipe(
            summary="A generator by styles: mapping network, AdaIN, noise, style mixing, truncation.",
            source="Karras, Laine and Aila 2019, A Style-Based Generator Architecture for Generative Adversarial "
            "Networks, arXiv:1812.04948 (growing only if asked to)",
            settings={
                "generator": {"name": "stylegan"},
                "discriminator": {"name": "stylegan", "minibatch": "deviation"},
                "loss": {"name": "nonsat"},
                # The paper has 10 for 1024 pixels. The interval is StyleGAN2's, since R1 takes a third of a step.
                "regularizers": {"r1": {"weight": 2, "every": 16}},
                # Twice the paper's rate and small batches learn faster from few images.
                "optimizer": {"generator_lr": 4e-3, "discriminator_lr": 4e-3, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 8, "ema_images": 10_000},
            },
        )
    }
