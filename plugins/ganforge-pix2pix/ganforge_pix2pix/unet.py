"""U-Net generator (Ronneberger 2015, arXiv:1505.04597) as in pix2pix."""

from __future__ import annotations

import math

import torch
from ganforge import DataSpec, Generator, map_sizes
from torch import Tensor, nn

from ganforge_pix2pix.blocks import Normalization, initialize, normalize, require_pairs

_DROPPED = 3
"""Number of levels with dropout, next to the innermost one."""


class UNet(Generator):
    """4x4 convolutions of stride 2 down to the smallest maps and up again, with skip connections and a final tanh.

    Maps are halved while both edges are even: to one pixel for squares of a power of two, to 3 x 4 for 48 x 64.

    Its noise is dropout during training, as in the paper. Latents are unused, and inference has no dropout, so each
    source gives one image.

    Args:
        data: Images and sources of one size that `map_sizes` takes, with two doublings or more, up to 256 pixels.
        width: Channels of the largest maps; each smaller size has twice as many.
        max_width: Maximum number of channels.
        dropout: Dropout rate of the three innermost decoder levels; in [0, 1).
        normalization: ``batch``, or ``instance`` for batches of one.
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
        map_sizes(data, doublings=2, largest=256)
        if not 1 <= width <= max_width:
            raise ValueError(f"width={width} must be from 1 to max_width={max_width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        self.z_dim = 1
        channels, *edges = data.shape
        common = math.gcd(*edges)
        depth = (common & -common).bit_length() - 1
        widths = [min(width * 2**level, max_width) for level in range(depth)]
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()  # the innermost first
        before = data.source_shape[0]
        for level, channels_out in enumerate(widths):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            # One pixel, the innermost level, has no statistics, and the first level keeps its scale.
            is_inner = 0 < level < depth - 1
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
            # The outermost levels draw detail, so they have no dropout.
            if level >= 2 and depth - 1 - level < _DROPPED and dropout > 0:
                layers.append(nn.Dropout(dropout))
            self.up.append(nn.Sequential(*layers))
        initialize(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map sources `labels`, ``[N, S, H, W]`` in [-1, 1], to images ``[N, C, H, W]`` in [-1, 1]; ignore `z`."""
        if labels is None:
            raise ValueError("this network translates images: give the sources as labels")
        maps = labels
        kept: list[Tensor] = []
        for layer in self.down:
            maps = layer(maps)
            kept.append(maps)
        kept.pop()  # the innermost maps are the input of the decoder
        for layer in self.up:
            maps = layer(maps)
            if len(kept) > 0:
                maps = torch.cat([maps, kept.pop()], dim=1)
        return maps
