"""StyleGAN2 (Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2020, arXiv:1912.04958) for images of up to
1024 pixels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganforge import (
    BilinearUpsample,
    Blur,
    DataSpec,
    Discriminator,
    EqualizedConv2d,
    Generator,
    MinibatchStatistics,
    ModulatedConv2d,
    NoiseInjection,
    Recipe,
    hookimpl,
    layer_noise,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size
from ganforge.builtin.style_mixing import MixingGenerator
from ganforge.builtin.stylegan_layers import NOISE_SPEED, RELU_GAIN, PyramidDiscriminator, make_growth


class _StyledConvolution(nn.Module):
    """Modulated convolution, noise, bias, and leaky ReLU 0.2; the next layer multiplies by its gain of sqrt(2)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: tuple[int, int],
        w_dim: int,
        *,
        gain: float = RELU_GAIN,
        up: bool = False,
    ) -> None:
        super().__init__()
        resample: Literal["none", "up"] = "up" if up else "none"
        self.convolution = ModulatedConv2d(channels_in, channels_out, 3, w_dim, gain=gain, resample=resample)
        # The blur commutes with the convolution, and has fewer channels after it.
        self.blur = Blur() if up else nn.Identity()
        self.noise = NoiseInjection(channels_out, size, lr_multiplier=NOISE_SPEED)
        self.bias = nn.Parameter(torch.zeros(channels_out, 1, 1))

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        return leaky_relu(self.noise(self.blur(self.convolution(x, w, self.bias.to(x.dtype))), noise), 0.2)


class StyleGAN2Generator(MixingGenerator):
    """Modulated convolutions from a learned constant, one at its size and two at each further size; skip connections.

    Each size adds its pixels to those of smaller ones. Each convolution has a style; the last style is for the pixels
    of the full size. Pixels of a smaller size use the style of the next convolution. A tanh limits the range; the paper
    ends in a sum.
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
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)[::-1]
        super().__init__(data, 2 * len(channels), z_dim, w_dim, mapping_layers, mixing, conditioning)
        sizes = map_sizes(data)
        self.constant = nn.Parameter(torch.randn(1, channels[0], *sizes[0]))
        layers = [_StyledConvolution(channels[0], channels[0], sizes[0], w_dim, gain=1.0)]
        for size, (channels_in, channels_out) in zip(sizes[1:], pairwise(channels), strict=True):
            layers.append(_StyledConvolution(channels_in, channels_out, size, w_dim, up=True))
            layers.append(_StyledConvolution(channels_out, channels_out, size, w_dim))
        self.layers = nn.ModuleList(layers)
        self.to_pixels = nn.ModuleList(
            ModulatedConv2d(each, data.shape[0], 1, w_dim, gain=RELU_GAIN, demodulate=False) for each in channels
        )
        # Biases at each size are equivalent: upsampling preserves a constant.
        self.color = nn.Parameter(torch.zeros(1, data.shape[0], 1, 1))
        self.upsample = BilinearUpsample()

    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        if self.training:
            noise = "random"
        x = self.constant.expand(w.shape[0], -1, -1, -1)
        styles = w.unbind(1)
        maps: list[Tensor] = []
        for index, layer in enumerate(self.layers):
            x = layer(x, styles[index], layer_noise(noise, index, len(self.layers)))
            if index % 2 == 0:
                maps.append(x)
        images = self.color
        for level, to_pixels in enumerate(self.to_pixels):
            if level > 0:
                images = self.upsample(images)
            images = images + to_pixels(maps[level], styles[2 * level + 1])
        return images.tanh()


class _ResidualHalving(nn.Module):
    """Two convolutions, the second downsampling, plus a downsampling 1 x 1 convolution; divided by sqrt(2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            EqualizedConv2d(channels_in, channels_in, 3, gain=RELU_GAIN),
            nn.LeakyReLU(0.2),
            Blur(),
            EqualizedConv2d(channels_in, channels_out, 3, gain=RELU_GAIN, resample="down"),
            nn.LeakyReLU(0.2),
        )
        skip = EqualizedConv2d(channels_in, channels_out, 1, gain=2**-0.5, resample="down", bias=False)
        self.skip = nn.Sequential(Blur(), skip)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.skip(x), self.main(x), alpha=2**-0.5)


class StyleGAN2Discriminator(PyramidDiscriminator):
    """Residual blocks that halve maps down to the smallest, and three layers to the logit."""

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 16,
        max_width: int = 512,
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint"] = "none",
        minibatch: MinibatchStatistics = "none",
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)
        super().__init__(data, _halve, channels, make_growth(data), conditioning=conditioning, minibatch=minibatch)


def _halve(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [_ResidualHalving(channels_in, channels_out)]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"stylegan2": StyleGAN2Generator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"stylegan2": StyleGAN2Discriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "stylegan2": Recipe(
            summary="StyleGAN without AdaIN: modulated convolutions, skips and residuals, path length regularization.",
            source="Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2020, Analyzing and Improving the Image "
            "Quality of StyleGAN, arXiv:1912.04958",
            settings={
                "generator": {"name": "stylegan2"},
                "discriminator": {"name": "stylegan2", "minibatch": "deviation"},
                "loss": {"name": "nonsat"},
                "regularizers": {"r1": {"weight": 2, "every": 16}, "path-length": {"weight": 2, "every": 4}},
                "optimizer": {"generator_lr": 4e-3, "discriminator_lr": 4e-3, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 8, "ema_images": 10_000},
            },
        )
    }
