"""StyleGAN2 (Karras, Laine, Aittala, Hellsten, Lehtinen and Aila 2020, arXiv:1912.04958) for images of up to
1024 pixels.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge import (
    DataSpec,
    Discriminator,
    Generator,
    MinibatchStatistics,
    ModulatedConv2d,
    Recipe,
    hookimpl,
    layer_noise,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size
from ganforge.builtin.style_mixing import MixingGenerator
from ganforge.builtin.stylegan2_layers import (
    Architecture,
    ClampedReLU,
    LabelMapping,
    StyledConvolution,
    make_downsample,
    make_halving,
    make_residual_halving,
    make_skip,
    make_upsample,
    validate_clamp,
)
from ganforge.builtin.stylegan_layers import RELU_GAIN, PyramidDiscriminator, make_growth


class StyleGAN2Generator(MixingGenerator):
    """Modulated convolutions from a learned constant, one at its size and two at each further size; skip connections.

    Each size adds its pixels to those of smaller ones. Each convolution has a style; the last style is for the pixels
    of the full size. Pixels of a smaller size use the style of the next convolution. A tanh limits the range; the paper
    ends in a sum.

    Args:
        architecture: Paper's figure 7: skip for pixels of each size, orig for those of the full size, or resnet.
        filter: Taps of the low-pass filter of resampling, with zero padding and a bias of pixels at each size, as in
            published networks: 1,3,3,1. Empty for the same taps with repeated borders.
        clamp: Limit of activations, 256 in published networks (Karras 2020, arXiv:2006.06676); default: none.
        output: Range of images: tanh, or linear as in the paper.
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
        embedding: int = 0,
        architecture: Architecture = "skip",
        filter: tuple[float, ...] = (),
        clamp: float | None = None,
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)[::-1]
        super().__init__(data, 2 * len(channels), z_dim, w_dim, mapping_layers, mixing, conditioning, embedding)
        validate_clamp(clamp)
        sizes = map_sizes(data)
        residual = architecture == "resnet"
        self.constant = nn.Parameter(torch.randn(1, channels[0], *sizes[0]))
        layers = [StyledConvolution(channels[0], channels[0], sizes[0], w_dim, gain=1.0, clamp=clamp)]
        skips: list[nn.Module] = [nn.Identity()]
        for size, (channels_in, channels_out) in zip(sizes[1:], pairwise(channels), strict=True):
            # Sums of residuals have the gain already.
            gain = 1.0 if residual and len(layers) > 1 else RELU_GAIN
            layers.append(
                StyledConvolution(channels_in, channels_out, size, w_dim, gain=gain, up=True, taps=filter, clamp=clamp)
            )
            layers.append(StyledConvolution(channels_out, channels_out, size, w_dim, taps=filter, clamp=clamp))
            skips.append(nn.Identity())
            skips.append(make_skip(channels_in, channels_out, gain * 2**-0.5, filter) if residual else nn.Identity())
        self.layers = nn.ModuleList(layers)
        self.skips = nn.ModuleList(skips)
        self.residual = residual
        drawn = channels if architecture == "skip" else channels[-1:]
        self.to_pixels = nn.ModuleList(
            ModulatedConv2d(each, data.shape[0], 1, w_dim, gain=1.0 if residual else RELU_GAIN, demodulate=False)
            for each in drawn
        )
        self.first_level = len(channels) - len(drawn)
        # Without zero padding biases at each size are equivalent: upsampling preserves a constant.
        self.color = nn.Parameter(torch.zeros(len(drawn) if filter else 1, data.shape[0], 1, 1))
        self.limit = clamp
        self.upsample = make_upsample(filter)
        self.linear = output == "linear"

    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        if self.training:
            noise = "random"
        x = self.constant.expand(w.shape[0], -1, -1, -1)
        start = x
        styles = w.unbind(1)
        maps: list[Tensor] = []
        for index, (layer, skip) in enumerate(zip(self.layers, self.skips)):  # noqa: B905, TorchScript has no strict
            if index % 2 == 1:
                start = x
            x = layer(x, styles[index], layer_noise(noise, index, len(self.layers)))
            if index % 2 == 0:
                if self.residual and index > 0:
                    x = x + skip(start)
                maps.append(x)
        images = x
        for index, to_pixels in enumerate(self.to_pixels):
            level = self.first_level + index
            pixels = to_pixels(maps[level], styles[2 * level + 1])
            if index < len(self.color):
                pixels = pixels + self.color[index]
            limit = self.limit
            if limit is not None:
                pixels = pixels.clamp(-limit, limit)
            images = pixels if index == 0 else self.upsample(images) + pixels
        drawn: Tensor = images if self.linear else images.tanh()
        return drawn


class StyleGAN2Discriminator(PyramidDiscriminator):
    """Residual blocks that halve maps down to the smallest, and three layers to the logit.

    Args:
        conditioning: Class conditioning: none, labels as maps beside the image, projection, auxiliary or joint
            classifier, or mapping, a projection by a mapping network (Karras 2020, arXiv:2006.06676).
        mapping_layers: Layers of that mapping network, at most 100.
        mapping_width: Length of its vectors; 0 for the channels of the smallest maps.
        architecture: Paper's figure 7: resnet, skip for pixels at each size, or orig for pixels at the full size.
        filter: Taps of the low-pass filter of resampling, with zero padding, as in published networks: 1,3,3,1. Empty
            for the same taps with repeated borders.
        clamp: Limit of activations, 256 in published networks (Karras 2020, arXiv:2006.06676); default: none.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 16,
        max_width: int = 512,
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint", "mapping"] = "none",
        mapping_layers: int = 8,
        mapping_width: int = 0,
        minibatch: MinibatchStatistics = "none",
        group: int = 0,
        architecture: Architecture = "resnet",
        filter: tuple[float, ...] = (),
        clamp: float | None = None,
    ) -> None:
        channels = channels_by_size(data, width, max_width, largest=1024)
        validate_clamp(clamp)
        vector = (mapping_width or channels[-1]) if conditioning == "mapping" else 0
        super().__init__(
            data,
            partial(make_residual_halving if architecture == "resnet" else make_halving, taps=filter, clamp=clamp),
            channels,
            make_growth(data),
            conditioning=conditioning,
            minibatch=minibatch,
            group=group,
            num_outputs=vector or 1,
            activation=partial(ClampedReLU, clamp),
        )
        self.label_mapping = LabelMapping(data, vector, mapping_layers) if vector else None
        self.downsample = make_downsample(filter)
        skips = channels[1:] if architecture == "skip" else []
        self.skips = nn.ModuleList(nn.Sequential(*self._from_pixels(data, each)) for each in skips)

    def hidden(self, examples: Tensor) -> Tensor:
        if not self.skips:
            return super().hidden(examples)
        from_pixels, *blocks = self.parts
        x: Tensor = from_pixels(examples)
        for block, skip in zip(blocks, self.skips, strict=True):
            examples = self.downsample(examples)
            x = block(x) + skip(examples)
        features: Tensor = x.flatten(1)
        return features

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.label_mapping is None:
            return super().head(features, labels)
        outputs = self.logits(features).view(len(features), -1)
        mapped: Tensor = self.label_mapping(labels)
        logits: Tensor = (outputs * mapped).sum(1) * mapped.shape[1] ** -0.5
        return logits


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
