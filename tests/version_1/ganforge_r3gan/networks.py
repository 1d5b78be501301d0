"""Both networks: mirror images of one another, without norms, styles, noise or minibatch statistics."""

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
    join_labels,
    label_dim,
)
from torch import Tensor, nn

from ganforge_r3gan.blocks import Block, initialise

NARROWS_ABOVE = 32
"""Maps larger than this have half as many channels at each doubling."""


def widths(data: DataSpec, width: int, group_width: int, expansion: int) -> list[int]:
    """Channels of maps from 4 x 4 to the image's size.

    Raises:
        ValueError: Images that are not square with a power of two from 8 on, or widths that groups do not divide.
    """
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}; use --arch mlp")
    _, height, pixels = data.shape
    if height != pixels or pixels < 8 or pixels & (pixels - 1):
        closest = 1 << max(3, min(height, pixels).bit_length() - 1)
        words = f"images are {pixels}x{height}, but must be square with a power of two"
        raise ValueError(f"{words}; use --resolution {closest}")
    found = [width * NARROWS_ABOVE // max(NARROWS_ABOVE, 4 << stage) for stage in range(pixels.bit_length() - 2)]
    for each in found:
        if each < 1 or group_width < 1 or expansion < 1 or each * expansion % group_width:
            raise ValueError(
                f"width={width} gives maps of {each} channels, {each * expansion} inside a block, which are no "
                f"multiple of group_width={group_width}; a power of two will do"
            )
    return found


def stage(channels: int, *, blocks: int, **options: int) -> nn.Sequential:
    """The blocks of one size; see `Block` for the options."""
    return nn.Sequential(*(Block(channels, **options) for _ in range(blocks)))


def transition(before: int, after: int) -> nn.Module:
    """A 1x1 convolution where the number of channels changes, else nothing."""
    if before == after:
        return nn.Identity()
    layer = nn.Conv2d(before, after, 1, bias=False)
    initialise(layer)
    return layer


class R3GANGenerator(Generator):
    """A learned 4x4 basis weighted by a linear function of z, blocks at each size, bilinear doubling between sizes.

    The paper ends in a linear layer; here a tanh keeps images in their range.

    Args:
        data: Shape of an image: square, a power of two from 8 on.
        z_dim: Length of a latent vector.
        width: Channels of maps up to 32 x 32; 768 in the paper. Each larger size has half as many.
        blocks: Residual blocks at each size.
        expansion: How many times wider a block is inside.
        group_width: Channels of a group of its 3x3 convolution.
        conditioning: How classes enter: not at all, or joined to the latents.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 64,
        width: int = 128,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        conditioning: Literal["none", "input"] = "none",
    ) -> None:
        super().__init__()
        for name, value in (("z_dim", z_dim), ("blocks", blocks)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.z_dim = z_dim
        self.label_dim = label_dim(data, conditioning)
        sizes = widths(data, width, group_width, expansion)
        options = {"blocks": blocks, "expansion": expansion, "group_width": group_width}
        self.weigh = nn.Linear(z_dim + self.label_dim, sizes[0], bias=False)
        initialise(self.weigh)
        self.basis = nn.Parameter(torch.randn(sizes[0], 4, 4))
        total = blocks * len(sizes)
        layers: list[nn.Module] = [stage(sizes[0], num_blocks=total, **options)]
        for before, after in pairwise(sizes):
            layers += [transition(before, after), BilinearUpsample(), stage(after, num_blocks=total, **options)]
        self.layers = nn.Sequential(*layers)
        self.draw = nn.Conv2d(sizes[-1], data.shape[0], 1, bias=False)
        initialise(self.draw)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents ``[N, z_dim]``, and classes ``[N]`` if it is conditional, to images ``[N, C, H, W]`` in [-1, 1]."""
        weights = self.weigh(join_labels(z, labels, self.label_dim, strength=self.z_dim**0.5))
        maps = self.layers(weights[:, :, None, None] * self.basis.to(weights.dtype))
        images: Tensor = self.draw(maps).tanh()
        return images


class R3GANDiscriminator(ConditionalDiscriminator):
    """The generator turned round: blocks at each size, bilinear halving, a 4x4 convolution of each channel, one logit.

    Args:
        data: Shape of an image: square, a power of two from 8 on.
        width: Channels of maps up to 32 x 32; 768 in the paper. Each larger size has half as many.
        blocks: Residual blocks at each size.
        expansion: How many times wider a block is inside.
        group_width: Channels of a group of its 3x3 convolution.
        conditioning: How classes enter: not at all, or by projection.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 128,
        blocks: int = 2,
        expansion: int = 2,
        group_width: int = 16,
        conditioning: Literal["none", "projection"] = "none",
    ) -> None:
        sizes = widths(data, width, group_width, expansion)[::-1]
        if blocks < 1:
            raise ValueError(f"blocks={blocks} must be at least 1")
        super().__init__(data, conditioning, sizes[-1])
        options = {"blocks": blocks, "expansion": expansion, "group_width": group_width}
        total = blocks * len(sizes)
        self.see = nn.Conv2d(data.shape[0], sizes[0], 1, bias=False)
        initialise(self.see)
        layers: list[nn.Module] = [stage(sizes[0], num_blocks=total, **options)]
        for before, after in pairwise(sizes):
            layers += [BilinearDownsample(), transition(before, after), stage(after, num_blocks=total, **options)]
        self.layers = nn.Sequential(*layers)
        self.basis = nn.Conv2d(sizes[-1], sizes[-1], 4, groups=sizes[-1], bias=False)
        self.judge = nn.Linear(sizes[-1], 1, bias=False)
        initialise(self.basis)
        initialise(self.judge)

    def hidden(self, examples: Tensor) -> Tensor:
        """The last hidden layer ``[N, F]``."""
        features: Tensor = self.basis(self.layers(self.see(examples))).flatten(1)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[N]``."""
        logits: Tensor = self.judge(features).flatten()
        return logits
