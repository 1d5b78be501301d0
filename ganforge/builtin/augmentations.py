"""Augmentations of fixed strength: horizontal flip and DiffAugment."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from ganforge import Augmentation, DataSpec, hookimpl


def check_image(data: DataSpec) -> None:
    """Raise ``ValueError`` if examples are vectors."""
    if not data.is_image:
        raise ValueError(f"needs images, but an example is a vector of {data.shape[0]}")


def pixels_at(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Gather pixels of images ``[N, C, H, W]`` at int64 rows and columns, which broadcast to ``[N, H, W]``."""
    index = (rows * images.shape[3] + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view_as(images)


class Flip(Augmentation):
    """Mirrors images left to right, each with probability 1/2."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        check_image(data)

    def forward(self, images: Tensor) -> Tensor:
        coin = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
        return torch.where(coin, images.flip(3), images)


class DiffAugment(Augmentation):
    """Differentiable augmentation (Zhao 2020, arXiv:2006.10738): color, translation, cutout.

    Color may leave [-1, 1]. Blank and cut areas are 0.

    Args:
        policy: Transforms, in order.
    """

    brightness: ClassVar[float] = 0.5
    """Maximum addition."""

    saturation: ClassVar[float] = 1.0
    """Maximum change of the factor on differences between channels."""

    contrast: ClassVar[float] = 0.5
    """Maximum change of the factor on differences from the image's mean."""

    shift: ClassVar[float] = 1 / 8
    """Maximum translation, as a share of the edge."""

    hole: ClassVar[float] = 1 / 2
    """Size of the cutout, as a share of the edge."""

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
        # The center may be any pixel, so that the middle is not always cut out.
        top = _whole(0, images.shape[2] - 1, images) - high // 2
        left = _whole(0, images.shape[3] - 1, images) - wide // 2
        cut = (rows >= top) & (rows < top + high) & (columns >= left) & (columns < left + wide)
        return images * ~cut[:, None]


def _around(middle: float, spread: float, images: Tensor) -> Tensor:
    """Draw from [middle - spread, middle + spread) per image: ``[N, 1, 1, 1]``."""
    draws = torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)
    return middle + spread * (2 * draws - 1)


def _whole(least: int, most: int, images: Tensor) -> Tensor:
    """Draw an integer from [least, most] per image: ``[N, 1, 1]``."""
    return torch.randint(least, most + 1, (len(images), 1, 1), device=images.device)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    return rows[:, None], columns[None, :]


@hookimpl
def ganforge_augmentations() -> dict[str, type[Augmentation]]:
    return {"flip": Flip, "diffaugment": DiffAugment}
