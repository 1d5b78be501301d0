"""Networks that begin small and grow while they train (Karras 2018, arXiv:1710.10196, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganforge.contract.capabilities import Growing
from ganforge.layers.resample import repeat_pixels


class Growth(nn.Module):
    """How far a network has grown: the resolution at which it works, and how far that is faded in. Scriptable.

    The first resolution is held for `stage_images`. Each further one, twice as large, is faded in over `fade_images`
    and then held for `stage_images`. The count of images is a buffer, so that weights come back at their stage; what
    runs reads plain numbers beside it, so that no device is waited for.

    Args:
        full_resolution: Pixels along an edge of an image, a power of two.
        start_resolution: Those of the first stage: a power of two from 4 on, or `full_resolution` to grow nothing.
        stage_images: Real images for which each resolution is held.
        fade_images: Real images over which each further one is faded in.

    Attributes:
        resolution: The newest resolution.
        alpha: Its share, in [0, 1]: 0 when it comes, 1 once it is faded in.
        num_sizes: How many sizes of maps there are from 4 x 4 up to it.
    """

    def __init__(self, full_resolution: int, *, start_resolution: int, stage_images: int, fade_images: int) -> None:
        super().__init__()
        sizes = [2**power for power in range(2, full_resolution.bit_length())]
        if start_resolution not in sizes:
            raise ValueError(f"start_resolution={start_resolution} must be one of {', '.join(map(str, sizes))}")
        if stage_images < 1:
            raise ValueError(f"stage_images={stage_images} must be at least 1")
        if fade_images < 0:
            raise ValueError(f"fade_images={fade_images} must be at least 0")
        self.full_resolution = full_resolution
        self.start_resolution = start_resolution
        self.stage_images = stage_images
        self.fade_images = fade_images
        self.images: Tensor
        # What does not grow has nothing to remember.
        grows = start_resolution < full_resolution
        self.register_buffer("images", torch.zeros((), dtype=torch.int64), persistent=grows)
        self.register_load_state_dict_post_hook(_return_to_stage)  # type: ignore[no-untyped-call]
        self.grow(0)

    def stage_at(self, images: int) -> tuple[int, float]:
        """The resolution and its share alpha after so many real images."""
        if images < self.stage_images:
            return self.start_resolution, 1.0
        doublings, since = divmod(images - self.stage_images, self.fade_images + self.stage_images)
        if doublings >= self.full_resolution.bit_length() - self.start_resolution.bit_length():
            return self.full_resolution, 1.0
        alpha = since / self.fade_images if since < self.fade_images else 1.0
        return self.start_resolution << (doublings + 1), alpha

    def phases(self) -> tuple[int, ...]:
        """After how many images each resolution is held, or begins to fade in; see `Growing.phases`."""
        starts, resolution, images = [0], self.start_resolution, self.stage_images
        while resolution < self.full_resolution:
            starts += [images, images + self.fade_images]
            resolution, images = 2 * resolution, images + self.fade_images + self.stage_images
        return tuple(starts)

    def grow(self, images: int) -> None:
        """Set what is due after so many real images."""
        self.images.fill_(images)
        self.resolution, self.alpha = self.stage_at(images)
        self.num_sizes = self.resolution.bit_length() - 2

    def fade(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(1 - alpha) of coarse images ``[N, C, h, w]``, each pixel repeated, and alpha of fine ones, 2h x 2w."""
        return torch.lerp(repeat_pixels(coarse), fine, self.alpha)

    def enlarge(self, images: Tensor) -> Tensor:
        """Images of the stage at full size, each pixel repeated."""
        if self.resolution == self.full_resolution:
            return images
        return repeat_pixels(images, self.full_resolution // images.shape[2])

    def reduce(self, images: Tensor) -> Tensor:
        """Images of full size at that of the stage, by means over squares of pixels."""
        factor = self.full_resolution // self.resolution
        return avg_pool2d(images, factor) if factor > 1 else images

    def coarsen(self, images: Tensor) -> Tensor:
        """Images of full size in the detail of the stage, faded as the generator's are."""
        if self.resolution == self.full_resolution and self.alpha == 1.0:
            return images
        coarse = self.reduce(images)
        if self.alpha < 1.0:
            coarse = self.fade(avg_pool2d(coarse, 2), coarse)
        return self.enlarge(coarse)

    def encode(self, images: Tensor, from_pixels: Sequence[nn.Module], blocks: Sequence[nn.Module]) -> Tensor:
        """The way of images through a discriminator as far as it has grown, faded as the generator's, mirrored.

        Args:
            images: ``[N, C, H, W]`` of full size.
            from_pixels: A layer from pixels to maps for each size that a stage may have, the full one first.
            blocks: What halves maps, from those of the full size down to the smallest that is halved.

        Returns:
            What the last block gives.
        """
        level = (self.full_resolution // self.resolution).bit_length() - 1
        images = self.reduce(images)
        x: Tensor = from_pixels[level](images)
        for index, block in enumerate(blocks[level:]):
            x = block(x)
            if index == 0 and self.alpha < 1.0:
                x = torch.lerp(from_pixels[level + 1](avg_pool2d(images, 2)), x, self.alpha)
        return x


def _return_to_stage(growth: Growth, _: Any) -> None:
    growth.grow(int(growth.images))


class ProgressiveNetwork(Growing):
    """A network that grows by the `Growth` in its attribute ``growth``."""

    if TYPE_CHECKING:  # TorchScript takes annotations in the body of a class for those of its own types
        growth: Growth

    def phases(self) -> tuple[int, ...]:
        """As `Growing.phases`."""
        return self.growth.phases()

    def grow(self, images: int) -> None:
        """As `Growing.grow`."""
        self.growth.grow(images)

    def coarsen(self, images: Tensor) -> Tensor:
        """As `Growing.coarsen`."""
        return self.growth.coarsen(images)


class ProgressiveGenerator(ProgressiveNetwork):
    """A generator that grows: it makes its maps only as far as it has grown and leaves the rest to `draw`.

    Besides ``growth`` it sets ``to_pixels``, the layer from maps of full size to pixels, and ``small_pixels``, a
    ``ModuleList`` of such layers for each smaller size from the start on.
    """

    if TYPE_CHECKING:
        to_pixels: nn.Module
        small_pixels: nn.ModuleList

    def draw(self, maps: list[Tensor]) -> Tensor:
        """Images ``[N, C, H, W]`` of full size. Scriptable.

        Args:
            maps: Those of each size so far, ``[N, channels, size, size]``, the newest last.
        """
        growth = self.growth
        images = self.pixels_of(maps[-1], growth.resolution)
        if growth.alpha < 1.0:
            images = growth.fade(self.pixels_of(maps[-2], growth.resolution // 2), images)
        return growth.enlarge(images)

    def pixels_of(self, x: Tensor, resolution: int) -> Tensor:
        """What the layer of a size gives for its maps ``[N, channels, resolution, resolution]``. Scriptable."""
        if resolution == self.growth.full_resolution:
            return self.to_pixels(x)  # type: ignore[no-any-return]
        images = x
        for level, layer in enumerate(self.small_pixels):
            if self.growth.start_resolution << level == resolution:
                images = layer(x)
        return images
