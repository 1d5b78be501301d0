"""Shared parts of PGGAN and StyleGAN: growing, discriminator, styled layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganforge import (
    AdaIN,
    ConditionalDiscriminator,
    DataSpec,
    EqualizedConv2d,
    EqualizedLinear,
    Growth,
    NoiseInjection,
    ProgressiveNetwork,
    Recomputable,
    make_minibatch_statistics,
    map_sizes,
    noisy_style,
)

RELU_GAIN = 2**0.5
"""Gain that preserves the variance through a convolution and a ReLU (He 2015)."""

NOISE_SPEED = 0.01
"""Relative learning rate of noise scales. At full speed an early generator uses noise for detail."""


def make_growth(
    data: DataSpec, growing: bool = False, start_resolution: int = 4, stage_images: int = 1, fade_images: int = 0
) -> Growth:
    """Return the `Growth` for a network's options."""
    full = 2 << len(map_sizes(data))
    start = start_resolution if growing else full
    return Growth(full, start_resolution=start, stage_images=stage_images, fade_images=fade_images)


class PyramidDiscriminator(ConditionalDiscriminator, ProgressiveNetwork, Recomputable):
    """Blocks that halve maps down to the smallest, minibatch statistics, and three layers to the logit; may grow.

    Args:
        data: Shape and classes of the images: any number of channels, a size that `map_sizes` takes.
        block: Creates the layers that halve maps, from numbers of input and output channels.
        channels: Channels of the maps from the image's size down to the smallest.
        growth: Stages.
        width: Channels of the largest maps, 16 at 1024 pixels in the paper, doubled at each smaller size.
        max_width: Maximum number of channels.
        conditioning: Class conditioning: none, labels as maps beside the image, projection, auxiliary or joint
            classifier.
        minibatch: Minibatch statistics: none, deviation as in the paper, or discrimination.
        group: Examples of a group of the deviation, 4 in StyleGAN2's published networks; 0 for the whole batch.
        num_outputs: Numbers that `logits` returns for an example; 1 for the logit.
        activation: Creates the activation after each convolution; default: leaky ReLU 0.2.
    """

    def __init__(
        self,
        data: DataSpec,
        block: Callable[[int, int], list[nn.Module]],
        channels: list[int],
        growth: Growth,
        *,
        conditioning: str,
        minibatch: str,
        group: int = 0,
        num_outputs: int = 1,
        activation: Callable[[], nn.Module] | None = None,
    ) -> None:
        last, self.smallest = channels[-1], map_sizes(data)[0]
        num_features = last * math.prod(self.smallest)
        super().__init__(data, conditioning, num_features, minibatch)
        self._activation = activation or partial(nn.LeakyReLU, 0.2, inplace=True)
        layers = self._from_pixels(data, channels[0])
        starts = []  # of the blocks
        for channels_in, channels_out in pairwise(channels):
            starts.append(len(layers))
            layers += block(channels_in, channels_out)
        self.layers = nn.Sequential(*layers)
        # Slices of `layers`, not submodules: from pixels, then each block.
        self.parts = [self.layers[first:last] for first, last in pairwise([0, *starts, len(layers)])]
        self.minibatch = make_minibatch_statistics(minibatch, num_features, group)
        if not self.joint:
            num_statistics = self.minibatch.num_statistics if self.minibatch else 0
            self.judge = nn.Sequential(
                EqualizedConv2d(last + num_statistics, last, 3, gain=RELU_GAIN),
                self._activation(),
                nn.Flatten(),
                EqualizedLinear(num_features, last, gain=RELU_GAIN),
                nn.LeakyReLU(0.2, inplace=True),
                EqualizedLinear(last, num_outputs),
            )
        self.growth = growth
        smaller = channels[1 : (growth.full_resolution // growth.start_resolution).bit_length()]
        self.small_pixels = nn.ModuleList(nn.Sequential(*self._from_pixels(data, each)) for each in smaller)

    def _from_pixels(self, data: DataSpec, channels: int) -> list[nn.Module]:
        return [EqualizedConv2d(data.shape[0] + self.label_dim, channels, 1, gain=RELU_GAIN), self._activation()]

    def hidden(self, examples: Tensor) -> Tensor:
        from_pixels, *blocks = self.parts
        return self.growth.encode(examples, [from_pixels, *self.small_pixels], blocks).flatten(1)

    def recomputable(self) -> list[nn.Module]:
        return list(self.parts)

    def logits(self, features: Tensor) -> Tensor:
        maps = features.view(len(features), -1, *self.smallest)
        if self.minibatch is not None:
            statistics = self.minibatch(features)[:, :, None, None]
            maps = torch.cat([maps, statistics.expand(-1, -1, *self.smallest)], dim=1)
        logits: Tensor = self.judge(maps)
        return logits.squeeze(1)


def make_small_pixels(data: DataSpec, channels: list[int], growth: Growth, gain: float = 1.0) -> nn.ModuleList:
    """Return a generator's layers to pixels for all stages but the full size; `channels` start at the smallest maps."""
    first = growth.start_resolution.bit_length() - 3
    return nn.ModuleList(EqualizedConv2d(each, data.shape[0], 1, gain=gain) for each in channels[first:-1])


class StyledLayer(nn.Module):
    """A layer `before` with `channels` maps of height and width `size`, then noise, leaky ReLU 0.2, and AdaIN."""

    def __init__(self, before: nn.Module, channels: int, size: tuple[int, int], w_dim: int) -> None:
        super().__init__()
        self.before = before
        self.noise = NoiseInjection(channels, size, lr_multiplier=NOISE_SPEED)
        self.adain = AdaIN(channels, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        maps: Tensor = self.before(x)
        if torch.jit.is_scripting() or not self.training or noise != "random":  # type: ignore[attr-defined]
            styled: Tensor = self.adain(leaky_relu(self.noise(maps, noise), 0.2), w)
            return styled
        drawn = self.noise.draw(maps)
        return noisy_style(maps, drawn, self.noise.strength, self.noise.lr_multiplier, self.adain.affine(w))
