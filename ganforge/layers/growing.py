"""Progressive growing (Karras 2018, arXiv:1710.10196, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganforge.contract.capabilities import Growing
from ganforge.layers.resample import repeat_pixels


class Growth(nn.Module):
    """Stage of a growing network: resolution and fade-in weight. Scriptable.

    Resolutions are those of squares, whose smallest maps have 4 x 4 pixels. In networks for rectangles, 4 is the
    smallest size of maps, see `map_sizes`, 8 the next, and so on.

    The first resolution is trained for `stage_images`. Each further one, twice as large, fades in over `fade_images`
    and is then trained for `stage_images`. A buffer holds the images, so that weights restore their stage; computations
    use plain numbers, to avoid synchronizing the device.

    Args:
        full_resolution: Resolution of the images, a power of two.
        start_resolution: Resolution of the first stage: a power of two of at least 4, or `full_resolution` for no
            growing.
        stage_images: Real images for each resolution.
        fade_images: Real images of each fade-in.

    Attributes:
        resolution: Newest resolution.
        alpha: Fade-in weight of the newest resolution, in [0, 1].
        num_sizes: Number of map sizes from the smallest up to it.
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
        grows = start_resolution < full_resolution
        self.register_buffer("images", torch.zeros((), dtype=torch.int64), persistent=grows)
        self.register_load_state_dict_post_hook(_return_to_stage)  # type: ignore[no-untyped-call]
        self.grow(0)

    def stage_at(self, images: int) -> tuple[int, float]:
        """Return resolution and alpha after `images` real images."""
        if images < self.stage_images:
            return self.start_resolution, 1.0
        doublings, since = divmod(images - self.stage_images, self.fade_images + self.stage_images)
        if doublings >= self.full_resolution.bit_length() - self.start_resolution.bit_length():
            return self.full_resolution, 1.0
        alpha = since / self.fade_images if since < self.fade_images else 1.0
        return self.start_resolution << (doublings + 1), alpha

    def phases(self) -> tuple[int, ...]:
        """Return the numbers of images at which stages and fade-ins begin."""
        starts, resolution, images = [0], self.start_resolution, self.stage_images
        while resolution < self.full_resolution:
            starts += [images, images + self.fade_images]
            resolution, images = 2 * resolution, images + self.fade_images + self.stage_images
        return tuple(starts)

    def grow(self, images: int) -> None:
        """Set the stage after `images` real images."""
        self.images.fill_(images)
        self.resolution, self.alpha = self.stage_at(images)
        self.num_sizes = self.resolution.bit_length() - 2

    def fade(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Blend coarse images ``[N, C, h, w]``, upsampled, with fine ones of 2h x 2w by alpha."""
        return torch.lerp(repeat_pixels(coarse), fine, self.alpha)

    def enlarge(self, images: Tensor) -> Tensor:
        """Upsample images of the stage to full size by repeating pixels."""
        if self.resolution == self.full_resolution:
            return images
        return repeat_pixels(images, self.full_resolution // self.resolution)

    def reduce(self, images: Tensor) -> Tensor:
        """Average images of full size down to the stage's size."""
        factor = self.full_resolution // self.resolution
        return avg_pool2d(images, factor) if factor > 1 else images

    def coarsen(self, images: Tensor) -> Tensor:
        """Return full-size images at the detail of the stage."""
        if self.resolution == self.full_resolution and self.alpha == 1.0:
            return images
        coarse = self.reduce(images)
        if self.alpha < 1.0:
            coarse = self.fade(avg_pool2d(coarse, 2), coarse)
        return self.enlarge(coarse)

    def encode(self, images: Tensor, from_pixels: Sequence[nn.Module], blocks: Sequence[nn.Module]) -> Tensor:
        """Run a discriminator's layers of the current stage, with fade-in.

        Args:
            images: ``[N, C, H, W]`` of full size.
            from_pixels: Layers from pixels to maps, one per stage, full size first.
            blocks: Layers that halve maps, full size first.

        Returns:
            Output of the last block.
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
    """A network that grows by its attribute ``growth``, a `Growth`.

    Args:
        growing: Whether to grow; set it for both players.
        start_resolution: First resolution, if growing: 4 for the smallest maps, 8 for the next, and so on.
        stage_images: Real images for each resolution, if growing; the paper has 800k.
        fade_images: Real images of each fade-in, if growing; the paper has 800k.
    """

    if TYPE_CHECKING:  # TorchScript reads annotations in class bodies
        growth: Growth

    def phases(self) -> tuple[int, ...]:
        return self.growth.phases()

    def grow(self, images: int) -> None:
        self.growth.grow(images)

    def coarsen(self, images: Tensor) -> Tensor:
        return self.growth.coarsen(images)


class ProgressiveGenerator(ProgressiveNetwork):
    """A growing generator: it computes maps up to the current stage, and `draw` converts them to images.

    Besides ``growth`` it sets ``to_pixels``, the layer from full-size maps to pixels, and ``small_pixels``, a
    ``ModuleList`` of such layers for each smaller stage.
    """

    if TYPE_CHECKING:
        to_pixels: nn.Module
        small_pixels: nn.ModuleList

    def draw(self, maps: list[Tensor]) -> Tensor:
        """Convert maps to images ``[N, C, H, W]`` of full size. Scriptable.

        Args:
            maps: Maps of each size so far, ``[N, channels, H, W]``, the newest last.
        """
        growth = self.growth
        images = self.pixels_of(maps[-1], growth.resolution)
        if growth.alpha < 1.0:
            images = growth.fade(self.pixels_of(maps[-2], growth.resolution // 2), images)
        return growth.enlarge(images)

    def pixels_of(self, x: Tensor, resolution: int) -> Tensor:
        """Convert maps ``[N, channels, H, W]`` of a resolution to pixels. Scriptable."""
        if resolution == self.growth.full_resolution:
            return self.to_pixels(x)  # type: ignore[no-any-return]
        images = x
        for level, layer in enumerate(self.small_pixels):
            if self.growth.start_resolution << level == resolution:
                images = layer(x)
        return images
