"""Augmentations of fixed strength: horizontal flips, and those of DiffAugment."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ganforge import Augmentation, DataSpec, hookimpl


def check_image(data: DataSpec) -> None:
    """Refuse examples that are no images.

    Raises:
        ValueError: Examples are vectors.
    """
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}")


def pixels_at(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Fetch pixels, with gradients of any order.

    Args:
        images: ``[N, C, H, W]``.
        rows: Whence each pixel comes: int64 in [0, H), and of a shape that spreads to ``[N, H, W]`` beside `columns`.
        columns: Likewise, in [0, W).

    Returns:
        Images ``[N, C, H, W]``.
    """
    index = (rows * images.shape[3] + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images)


class Flip(Augmentation):
    """Mirrors images left to right, each with a coin of its own, so that half of those chosen are mirrored."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        check_image(data)

    def forward(self, images: Tensor) -> Tensor:
        """Mirror every other image ``[N, C, H, W]``, by chance."""
        coin = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        return torch.where(coin, images.flip(3), images)


class DiffAugment(Augmentation):
    """Differentiable augmentation (Zhao 2020, arXiv:2006.10738): colour, translation, cutout.

    Images may leave [-1, 1] by a change of colour. What a translation leaves blank, and what is cut out, is 0.

    Args:
        policy: Which changes are made, one after the other, in the order given.
    """

    brightness: ClassVar[float] = 0.5
    """Largest addition, in units of pixels."""

    saturation: ClassVar[float] = 1.0
    """Largest change of the factor on what sets a pixel's channels apart."""

    contrast: ClassVar[float] = 0.5
    """Largest change of the factor on what sets pixels apart from the image's mean."""

    shift: ClassVar[float] = 1 / 8
    """Largest translation, as a share of the image's side."""

    hole: ClassVar[float] = 1 / 2
    """What is cut out, as a share of the image's side."""

    def __init__(
        self,
        data: DataSpec,
        *,
        policy: tuple[Literal["color", "translation", "cutout"], ...] = ("color", "translation", "cutout"),
    ) -> None:
        super().__init__()
        check_image(data)
        if not policy:
            raise ValueError("policy is empty, but must name one or more of color, translation, cutout")
        self.policy = policy

    def forward(self, images: Tensor) -> Tensor:
        """Change images ``[N, C, H, W]`` by the policy."""
        changes = {"color": self._color, "translation": self._translation, "cutout": self._cutout}
        for name in self.policy:
            images = changes[name](images)
        return images

    def _color(self, images: Tensor) -> Tensor:
        images = images + _around(0, self.brightness, images)
        images = images.mean(1, keepdim=True).lerp(images, _around(1, self.saturation, images))
        return images.mean((1, 2, 3), keepdim=True).lerp(images, _around(1, self.contrast, images))

    def _translation(self, images: Tensor) -> Tensor:
        rows, columns = _grid(images)
        height, width = images.shape[2:]
        far_down, far_right = round(height * self.shift), round(width * self.shift)
        rows = rows - _whole(-far_down, far_down, images)
        columns = columns - _whole(-far_right, far_right, images)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        moved = pixels_at(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
        return moved * inside[:, None]

    def _cutout(self, images: Tensor) -> Tensor:
        rows, columns = _grid(images)
        high, wide = (round(side * self.hole) for side in images.shape[2:])
        # Its centre may be any pixel, so that it may hang over the edge; the middle would be cut out always otherwise.
        top = _whole(0, images.shape[2] - 1, images) - high // 2
        left = _whole(0, images.shape[3] - 1, images) - wide // 2
        cut = (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide)
        return images * ~cut[:, None]


def _around(middle: float, spread: float, images: Tensor) -> Tensor:
    """A number for each image, uniform in [middle - spread, middle + spread): ``[N, 1, 1, 1]``."""
    draws = torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    return middle + spread * (2 * draws - 1)


def _whole(least: int, most: int, images: Tensor) -> Tensor:
    """A whole number for each image, uniform in [least, most]: ``[N, 1, 1]``."""
    return torch.randint(least, most + 1, (len(images), 1, 1), device=images.device)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows ``[H, 1]`` and columns ``[1, W]`` of the pixels."""
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    return rows[:, None], columns[None, :]


@hookimpl
def ganforge_augmentations() -> dict[str, type[Augmentation]]:
    """Offer the augmentations."""
    return {"flip": Flip, "diffaugment": DiffAugment}
