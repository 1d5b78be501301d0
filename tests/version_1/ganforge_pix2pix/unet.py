"""The generator: a U-Net (Ronneberger 2015, arXiv:1505.04597) as in pix2pix, down to one pixel and up again."""

from __future__ import annotations

import torch
from ganforge import DataSpec, Generator
from torch import Tensor, nn

from ganforge_pix2pix.blocks import Normalization, initialise, normalize, require_pairs

_SIZES = (16, 32, 64, 128, 256)
_DROPPED = 3
"""Levels above the innermost one that have dropout."""


class UNet(Generator):
    """4x4 convolutions of stride 2 down to one pixel and up again, each level joined to its mirror image; then tanh.

    Its noise is dropout while it trains, as in the paper; latents are not used, and when it is asked for images dropout
    is off, so each source has one image.

    Args:
        data: Images and sources of one size: square, a power of two from 16 to 256.
        width: Channels of the largest maps; each smaller one has twice as many.
        max_width: Most channels of any map.
        dropout: Share of the numbers that is dropped in the three innermost levels on the way up; in [0, 1).
        normalization: ``batch``, or ``instance``, of each image by itself, for batches of one.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 64,
        max_width: int = 512,
        dropout: float = 0.5,
        normalization: Normalization = "batch",
    ) -> None:
        super().__init__()
        require_pairs(data)
        channels, height, pixels = data.shape
        if height != pixels or pixels not in _SIZES:
            closest = min(_SIZES, key=lambda size: abs(size - min(height, pixels)))
            raise ValueError(
                f"images are {pixels}x{height}, but must be square with a power of two; use --resolution {closest}"
            )
        if not 1 <= width <= max_width:
            raise ValueError(f"width={width} must be from 1 to max_width={max_width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        self.z_dim = 1
        depth = pixels.bit_length() - 1
        widths = [min(width * 2**level, max_width) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()  # the innermost first
        before = data.source_shape[0]
        for level, channels_out in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            is_inner = (
                0 < level < depth - 1
            )  # of one pixel there is nothing to normalise, and the first keeps its scale
            layers.append(nn.Conv2d(before, channels_out, 4, stride=2, padding=1, bias=not is_inner))
            if is_inner:
                layers.append(normalize(normalization, channels_out))
            self.down.append(nn.Sequential(*layers))
            before = channels_out
        for level in reversed(range(depth)):
            joined = widths[level] * (1 if level == depth - 1 else 2)
            channels_out = widths[level - 1] if level else channels
            layers = [nn.ReLU(), nn.ConvTranspose2d(joined, channels_out, 4, stride=2, padding=1, bias=not level)]
            layers += [normalize(normalization, channels_out)] if level else [nn.Tanh()]
            # The outermost levels draw detail, so in small networks they are spared.
            if level >= 2 and depth - 1 - level < _DROPPED and dropout > 0:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        initialise(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Sources ``[N, S, H, W]`` in [-1, 1], given as labels, to images ``[N, C, H, W]`` in [-1, 1].

        Args:
            z: Latents ``[N, 1]``, which are not used.
            labels: The sources.

        Raises:
            ValueError: There are no sources.
        """
        if labels is None:
            raise ValueError("this network makes images of images: give those as labels")
        maps = labels
        kept: list[Tensor] = []
        for layer in self.down:
            maps = layer(maps)
            kept.append(maps)
        kept.pop()  # the innermost is the way up itself
        for layer in self.up:
            maps = layer(maps)
            if len(kept) > 0:
                maps = torch.cat([maps, kept.pop()], dim=1)
        return maps
