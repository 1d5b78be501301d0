"""Generator and discriminator without normalization, styles, noise or minibatch statistics."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from ganforge import (
    BilinearDownsample,
    BilinearUpsample,
    ConditionalDiscriminator,
    DataSpec,
    Generator,
    LowPass,
    LowPassUpsample,
    join_labels,
    label_dim,
    map_sizes,
)
from torch import Tensor, nn

from ganforge_r3gan.blocks import Block, initialize

FILTER = (1.0, 3.0, 3.0, 1.0)
"""Taps of bilinear resampling by 2."""


def widths(data: DataSpec, width: int, wide_sizes: int, group_width: int, expansion: int) -> list[int]:
    """Return the channels of maps from the smallest to the image's size.

    Raises:
        ValueError: Images of an unsupported size, or widths that groups do not divide.
    """
    if wide_sizes < 1:
        raise ValueError(f"wide_sizes={wide_sizes} must be at least 1, such as 4")
    found = [width >> max(0, stage + 1 - wide_sizes) for stage in range(len(map_sizes(data)))]
    for each in found:
        if each < 1 or group_width < 1 or expansion < 1 or each * expansion % group_width:
            raise ValueError(
                f"width={width} gives maps of {each} channels, {each * expansion} inside a block, which is not a "
                f"multiple of group_width={group_width}; use a power of two"
            )
    return found


def stage(channels: int, *, blocks: int, **options: int) -> nn.Sequential:
    """Return the blocks of one size."""
    return nn.Sequential(*(Block(channels, **options) for _ in range(blocks)))


def transition(before: int, after: int) -> nn.Module:
    """Return a 1x1 convolution if the number of channels changes, else the identity."""
    if before == after:
        return nn.Identity()
    layer = nn.Conv2d(before, after, 1, bias=False)
    initialize(layer)
    return layer


def upsampling(border: str) -> nn.Module:
    """Return bilinear upsampling."""
    return BilinearUpsample() if border == "repeat" else LowPassUpsample(FILTER)


def downsampling(border: str) -> nn.Module:
    """Return bilinear downsampling."""
    return BilinearDownsample() if border == "repeat" else LowPass(FILTER, padding=(1, 1), stride=2)


class R3GANGenerator(Generator):
    """Generator: a learned basis weighted by a linear function of z, blocks per size, bilinear upsampling.

    Unlike in the paper, a tanh ends the network and keeps images in range, unless ``output`` is ``linear``.

    Args:
        data: Shape of an image, of a size that `map_sizes` takes.
        z_dim: Length of a latent vector.
        width: Channels of the smallest sizes of maps; 768 in the paper.
        wide_sizes: Number of these sizes; each larger size has half as many channels.
        blocks: Residual blocks at each size.
        expansion: Ratio of a block's inner channels to its outer ones.
        group_width: Channels per group of the 3x3 convolutions.
        conditioning: Conditioning method: none, or labels concatenated to the latents.
        border: Pixels beyond the border in upsampling: repeated, or zero as in published networks.
        output: Function at the end: tanh, or linear as in published networks.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 64,
        width: int = 128,
        wide_sizes: int = 4,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        conditioning: Literal["none", "input"] = "none",
        border: Literal["repeat", "zero"] = "repeat",
        output: Literal["tanh", "linear"] = "tanh",
    ) -> None:
        super().__init__()
        for name, value in (("z_dim", z_dim), ("blocks", blocks)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.z_dim = z_dim
        self.label_dim = label_dim(data, conditioning)
        sizes = widths(data, width, wide_sizes, group_width, expansion)
        options = {"blocks": blocks, "expansion": expansion, "group_width": group_width}
        self.weigh = nn.Linear(z_dim + self.label_dim, sizes[0], bias=False)
        initialize(self.weigh)
        self.basis = nn.Parameter(torch.randn(sizes[0], *map_sizes(data)[0]))
        total = blocks * len(sizes)
        layers: list[nn.Module] = [stage(sizes[0], num_blocks=total, **options)]
        for before, after in pairwise(sizes):
            layers += [transition(before, after), upsampling(border), stage(after, num_blocks=total, **options)]
        self.layers = nn.Sequential(*layers)
        self.linear = output == "linear"
        self.draw = nn.Conv2d(sizes[-1], data.shape[0], 1, bias=False)
        initialize(self.draw)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        weights = self.weigh(join_labels(z, labels, self.label_dim, strength=self.z_dim**0.5))
        maps = self.layers(weights[:, :, None, None] * self.basis.to(weights.dtype))
        images: Tensor = self.draw(maps)
        return images if self.linear else images.tanh()


class R3GANDiscriminator(ConditionalDiscriminator):
    """Discriminator: blocks per size, bilinear downsampling, a depthwise convolution to one pixel, one logit.

    Args:
        data: Shape of an image, of a size that `map_sizes` takes.
        width: Channels of the smallest sizes of maps; 768 in the paper.
        wide_sizes: Number of these sizes; each larger size has half as many channels.
        blocks: Residual blocks at each size.
        expansion: Ratio of a block's inner channels to its outer ones.
        group_width: Channels per group of the 3x3 convolutions.
        conditioning: Conditioning method: none, or projection.
        border: Pixels beyond the border in downsampling: repeated, or zero as in published networks.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 128,
        wide_sizes: int = 4,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        conditioning: Literal["none", "projection"] = "none",
        border: Literal["repeat", "zero"] = "repeat",
    ) -> None:
        sizes = widths(data, width, wide_sizes, group_width, expansion)[::-1]
        if blocks < 1:
            raise ValueError(f"blocks={blocks} must be at least 1")
        super().__init__(data, conditioning, sizes[-1])
        options = {"blocks": blocks, "expansion": expansion, "group_width": group_width}
        total = blocks * len(sizes)
        self.see = nn.Conv2d(data.shape[0], sizes[0], 1, bias=False)
        initialize(self.see)
        layers: list[nn.Module] = [stage(sizes[0], num_blocks=total, **options)]
        for before, after in pairwise(sizes):
            layers += [downsampling(border), transition(before, after), stage(after, num_blocks=total, **options)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Conv2d(sizes[-1], sizes[-1], map_sizes(data)[0], groups=sizes[-1], bias=False)
        self.judge = nn.Linear(sizes[-1], 1, bias=False)
        initialize(self.basis)
        initialize(self.judge)

    def hidden(self, examples: Tensor) -> Tensor:
        features: Tensor = self.basis(self.layers(self.see(examples))).flatten(1)
        return features

    def logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.judge(features).flatten()
        return logits
