"""Generator with skip-layer excitation, and discriminator with decoders."""

from __future__ import annotations

import torch
from ganforge import DataSpec, Discriminator, ExtraOutputs
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganforge_fastgan.layers import (
    GLU,
    Down,
    Noise,
    Sizes,
    convolve,
    decoder,
    double,
    excitation,
    halve,
    normalize,
    pick_quarter,
    shrink,
)

SKIPPED = 4
"""Levels between the maps that excite and those that are excited: 4 x 4 and 64 x 64, 8 x 8 and 128 x 128."""


def generator_channels(level: int, width: int) -> int:
    """Return the generator's channels at a level."""
    return [16, 8, 4, 2, 2][level] * width if level < 5 else max(1, width >> (level - 5))


def discriminator_channels(level: int, width: int) -> int:
    """Return the discriminator's channels at a level."""
    return 16 * width if level < 2 else max(1, (32 * width) >> level)


class Level(nn.Module):
    """One doubling of the generator's maps.

    Args:
        sizes: Sizes of maps.
        level: Level of the result.
        width: Channels at level 5.
    """

    def __init__(self, sizes: Sizes, level: int, width: int) -> None:
        super().__init__()
        before, after = generator_channels(level - 1, width), generator_channels(level, width)
        layers = double(before, after)
        if level % 2:  # every other doubling has noise and a second convolution
            layers.insert(2, Noise(2 * after, sizes.maps[level]))
            layers += [convolve(after, 2 * after, 3), Noise(2 * after, sizes.maps[level]), normalize(2 * after), GLU()]
        self.layers = nn.Sequential(*layers)
        self.source = level - min(SKIPPED, sizes.last)
        self.excite = (
            excitation(generator_channels(self.source, width), after, sizes.maps[0])
            if self.source >= 0
            else nn.Identity()
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Return maps of the next level from those of all before."""
        doubled: Tensor = self.layers(maps[-1])
        if self.source >= 0:
            doubled = doubled * self.excite(maps[self.source])
        return doubled


class FastGANGenerator(ExtraOutputs):
    """Transposed convolution, doublings with skip-layer excitation, and images of two sizes.

    The extra output is the small image, of half the size, at most 128 x 128 for squares of a power of two.

    Args:
        data: Images, of 16 pixels or more.
        z_dim: Length of a latent vector.
        width: Channels of maps of 128 x 128; smaller ones have up to 16 times as many.
    """

    def __init__(self, data: DataSpec, *, z_dim: int = 256, width: int = 64) -> None:
        super().__init__()
        if z_dim < 1 or width < 1:
            raise ValueError(f"z_dim={z_dim} and width={width} must be at least 1")
        self.z_dim = z_dim
        sizes = Sizes(data)
        self.factor, self.small = sizes.factor, sizes.small
        channels = generator_channels(0, width)
        first = nn.ConvTranspose2d(z_dim, 2 * channels, sizes.maps[0], bias=False)
        nn.init.normal_(first.weight, 0.0, 0.02)
        self.first = nn.Sequential(spectral_norm(first), normalize(2 * channels), GLU())
        self.levels = nn.ModuleList(Level(sizes, level, width) for level in range(1, sizes.last + 1))
        self.draw = convolve(generator_channels(sizes.last, width), data.shape[0], 3)
        self.draw_small = convolve(generator_channels(sizes.small, width), data.shape[0], 1)

    def outputs(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        maps = [self.first(z[:, :, None, None])]
        for level in self.levels:
            maps.append(level(maps))
        return [self.draw(maps[-1]).tanh(), self.draw_small(maps[self.small]).tanh()]

    def extras_of(self, images: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        return [shrink(images, self.factor)]


class FastGANDiscriminator(Discriminator):
    """Judges images and small images patch by patch; decoders reconstruct real images from its maps.

    Args:
        data: Images, of 16 pixels or more.
        width: Channels of maps of 128 x 128; smaller ones have up to 16 times as many.
    """

    def __init__(self, data: DataSpec, *, width: int = 64) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        sizes, colors = Sizes(data), data.shape[0]
        self.factor = sizes.factor

        def channels(level: int) -> int:
            return discriminator_channels(level, width)

        def stem(image: int, level: int) -> list[nn.Module]:
            first = convolve(colors, channels(level), 4, 2) if image > level else convolve(colors, channels(level), 3)
            return [first, nn.LeakyReLU(0.2)]

        begin = max(2, sizes.last - 1)
        self.large = nn.Sequential(
            *stem(sizes.last, begin),
            *[Down(channels(level + 1), channels(level)) for level in range(begin - 1, 1, -1)],
        )
        self.smallest = Down(channels(2), channels(1))
        self.judge = nn.Sequential(
            convolve(channels(1), 2 * channels(1), 1),
            normalize(2 * channels(1)),
            nn.LeakyReLU(0.2),
            convolve(2 * channels(1), 1, 4, pad=False),
        )
        begin = max(1, sizes.small - 1)
        layers = stem(sizes.small, begin)
        for level in range(begin - 1, 0, -1):
            layers += halve(channels(level + 1), channels(level))
        self.judge_small = nn.Sequential(*layers, convolve(channels(1), 1, 4, pad=False))
        self.decode = decoder(channels(1), 2 * width, colors, sizes.small - 1)
        self.decode_quarter = decoder(channels(2), 2 * width, colors, sizes.small - 1)
        patches = (sizes.maps[1][0] - 3) * (sizes.maps[1][1] - 3)
        self.scales = ((patches, 0.5), (patches, 0.5))

    def forward(self, images: Tensor, labels: Tensor | None = None, small: Tensor | None = None) -> Tensor:
        """Return logits ``[N * P]``: first those of the image, then as many of the small image."""
        small = shrink(images, self.factor) if small is None else small
        both = (self.judge(self.smallest(self.large(images))), self.judge_small(small))
        return torch.cat([logits.flatten(1) for logits in both], 1).flatten()

    def reconstruct(self, images: Tensor, below: Tensor, right: Tensor) -> Tensor:
        """Return what decoders make of maps: whole images and their quarters, of the small size.

        Args:
            images: Images ``[N, C, H, W]``.
            below: Whether the quarter is one of the lower two ``[N]``.
            right: Whether it is one of the right two ``[N]``.

        Returns:
            ``[N, 2, C, h, w]``.
        """
        maps = self.large(images)
        whole, quarter = self.decode(self.smallest(maps)), self.decode_quarter(pick_quarter(maps, below, right))
        return torch.stack([whole, quarter], 1)
