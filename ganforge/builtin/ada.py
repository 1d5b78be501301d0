"""Adaptive discriminator augmentation (Karras 2020, arXiv:2006.06676)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganforge import Augmentation, DataSpec, Pair, hookimpl
from ganforge.builtin.augmentations import check_image, pixels_at


class ADA(Augmentation):
    """Adaptive augmentation: affine and color transforms with a probability p that follows overfitting (Karras 2020).

    p starts at 0 and rises while r = E[sign(d(x))] of real examples exceeds its target. Geometric transforms are one
    affine map, sampled bilinearly without the paper's low-pass filter, with mirrored borders. Color transforms may
    leave [-1, 1].

    Args:
        target: Target of r, in (-1, 1).
        images: Real images over which p rises from 0 to 1.
        max: Maximum of p, in (0, 1]; near 1 the generator learns the augmentations.
    """

    p: Tensor

    def __init__(self, data: DataSpec, *, target: float = 0.6, images: int = 500_000, max: float = 0.8) -> None:
        super().__init__()
        check_image(data)
        if not -1 < target < 1:
            raise ValueError(f"target={target} must be above -1 and below 1")
        if images < 1:
            raise ValueError(f"images={images} must be at least 1, such as 500k")
        if not 0 < max <= 1:
            raise ValueError(f"max={max} must be above 0 and at most 1")
        self.target = target
        self.images = images
        self.max = max
        self.register_buffer("p", torch.zeros(()))

    @torch.no_grad()
    def update(self, logits: Pair) -> None:
        r = logits.real.sign().mean()
        self.p += (r - self.target).sign() * (len(logits.real) / self.images)
        self.p.clamp_(0, self.max)

    def forward(self, images: Tensor) -> Tensor:
        draws = _Draws(images, self.p)
        return _recolor(_warp(images, _placement(draws, *images.shape[2:])), draws)


class _Draws:
    """Random numbers ``[N]`` or ``[..., N]`` per image, 0 with probability 1 - p."""

    def __init__(self, images: Tensor, p: Tensor) -> None:
        self.count, self.device, self.p = len(images), images.device, p
        # Half precision is too coarse for coordinates.
        self.dtype = torch.promote_types(images.dtype, torch.float32)

    def integer(self, many: int) -> Tensor:
        return self._choose(torch.randint(many, (self.count,), device=self.device).to(self.dtype), self.p)

    def uniform(self, spread: float, *shape: int, p: Tensor | None = None) -> Tensor:
        share = torch.rand(*shape, self.count, device=self.device, dtype=self.dtype)
        return self._choose(spread * (2 * share - 1), self.p if p is None else p)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        value = torch.randn(*shape, self.count, device=self.device, dtype=self.dtype)
        return self._choose(deviation * value, self.p)

    def _choose(self, value: Tensor, p: Tensor) -> Tensor:
        return value * (torch.rand(self.count, device=self.device) < p)


def _placement(draws: _Draws, height: int, width: int) -> Tensor:
    """Return inverse maps ``[N, 3, 3]``, from the result to the image, about the center.

    Inverses of later transforms are multiplied from the right. Square images rotate by quarters, others by halves.
    """
    mirror = 1 - 2 * draws.integer(2)
    inverse = _matrix(mirror, 0, 0, 0, 1, 0)
    turn = math.pi / 2 * (draws.integer(4) if height == width else 2 * draws.integer(2))
    inverse = inverse @ _rotation(turn.cos().round(), turn.sin().round())
    right, down = draws.uniform(1 / 8, 2)
    inverse = inverse @ _shift((right * width).round(), (down * height).round())
    size = draws.normal(0.2).exp2()
    inverse = inverse @ _scaling(size, size)
    # Two rotations, at least one with probability p.
    rare = 1 - (1 - draws.p).sqrt()
    angle = draws.uniform(math.pi, p=rare)
    inverse = inverse @ _rotation(angle.cos(), angle.sin())
    stretch = draws.normal(0.2).exp2()
    inverse = inverse @ _scaling(stretch, 1 / stretch)
    angle = draws.uniform(math.pi, p=rare)
    inverse = inverse @ _rotation(angle.cos(), angle.sin())
    right, down = draws.normal(1 / 8, 2)
    return inverse @ _shift(right * width, down * height)


def _matrix(*entries: Tensor | float) -> Tensor:
    """Return matrices ``[N, 3, 3]`` of six entries ``[N]`` above a row 0, 0, 1; entries may be numbers."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    columns = [torch.zeros_like(like) + entry for entry in (*entries, 0, 0, 1)]
    return torch.stack(columns, 1).view(-1, 3, 3)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    return _matrix(1 / x, 0, 0, 0, 1 / y, 0)


def _rotation(cos: Tensor, sin: Tensor) -> Tensor:
    return _matrix(cos, sin, 0, -sin, cos, 0)


def _shift(right: Tensor, down: Tensor) -> Tensor:
    return _matrix(1, 0, -right, 0, 1, -down)


def _warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Sample images ``[N, C, H, W]`` bilinearly at maps ``[N, 3, 3]``, mirrored at the borders.

    It uses gathers, since grid_sample has no deterministic backward on CUDA.
    """
    height, width = images.shape[2:]
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    x = torch.arange(width, device=images.device, dtype=inverse.dtype)[None, None, :] - middle_x
    y = torch.arange(height, device=images.device, dtype=inverse.dtype)[None, :, None] - middle_y
    (xx, xy, x1), (yx, yy, y1), _ = (row.unbind() for row in inverse[..., None, None].permute(1, 2, 0, 3, 4))
    columns = xx * x + xy * y + (x1 + middle_x)
    rows = yx * x + yy * y + (y1 + middle_y)
    left, top = columns.floor(), rows.floor()
    to_right = (columns - left)[:, None].to(images.dtype)
    to_bottom = (rows - top)[:, None].to(images.dtype)
    first, second = (_mirrored(left.long() + step, width) for step in (0, 1))
    upper, lower = (
        pixels_at(images, row, first).lerp(pixels_at(images, row, second), to_right)
        for row in (_mirrored(top.long() + step, height) for step in (0, 1))
    )
    return upper.lerp(lower, to_bottom)


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Return indices into a row of `size` pixels, mirrored periodically."""
    index = index % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _recolor(images: Tensor, draws: _Draws) -> Tensor:
    """Change brightness, contrast and the sign of luma; in RGB also hue and saturation.

    Luma is the mean of the channels, hue an angle around the gray axis.
    """

    def shaped(value: Tensor) -> Tensor:
        return value[:, None, None, None].to(images.dtype)

    images = images + shaped(draws.normal(0.2))
    images = images * shaped(draws.normal(0.5).exp2())
    images = images - shaped(2 * draws.integer(2)) * images.mean(1, keepdim=True)
    if images.shape[1] == 3:
        gray, hue = images.mean(1, keepdim=True), draws.uniform(math.pi)
        across = (images.roll(-2, 1) - images.roll(-1, 1)) / math.sqrt(3)  # cross product of gray axis and color
        images = gray.lerp(images, shaped(hue.cos())) + across * shaped(hue.sin())
        images = gray.lerp(images, shaped(draws.normal(1.0).exp2()))
    return images


@hookimpl
def ganforge_augmentations() -> dict[str, type[Augmentation]]:
    return {"ada": ADA}
