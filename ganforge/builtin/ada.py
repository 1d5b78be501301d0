"""Adaptive discriminator augmentation (Karras 2020, arXiv:2006.06676)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganforge import Augmentation, DataSpec, Pair, hookimpl
from ganforge.builtin.augmentations import check_image, pixels_at


class ADA(Augmentation):
    """Changes of place and colour, each with a probability p that follows how far D overfits (Karras 2020).

    p starts at 0 and rises while r = E[sign(d(x))] on real examples is above its target. All changes of place are one
    affine map, sampled bilinearly without the paper's low-pass filter; beyond its edges an image is mirrored. A change
    of colour may leave [-1, 1].

    Args:
        target: Where r is held; in (-1, 1).
        images: Real examples over which p goes from 0 to 1 if r stays above its target.
        max: Largest p; close to 1 the generator learns to draw changed images.
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
        """Move p by the share of `images` in the batch: up while r is above its target, down while it is below."""
        r = logits.real.sign().mean()
        self.p += (r - self.target).sign() * (len(logits.real) / self.images)
        self.p.clamp_(0, self.max)

    def forward(self, images: Tensor) -> Tensor:
        """Change images ``[N, C, H, W]``; square ones are turned by quarters, others by halves."""
        draws = _Draws(images, self.p)
        return _recolor(_warp(images, _placement(draws, *images.shape[2:])), draws)


class _Draws:
    """Random numbers for each image, ``[N]`` or ``[..., N]``: 0, which changes nothing, unless chosen by chance p."""

    def __init__(self, images: Tensor, p: Tensor) -> None:
        self.count, self.device, self.p = len(images), images.device, p
        # Half precision would be too coarse for a place.
        self.dtype = torch.promote_types(images.dtype, torch.float32)

    def integer(self, many: int) -> Tensor:
        """One of 0 ... many - 1."""
        return self._choose(torch.randint(many, (self.count,), device=self.device).to(self.dtype), self.p)

    def uniform(self, spread: float, *shape: int, p: Tensor | None = None) -> Tensor:
        """Uniform in [-spread, spread)."""
        share = torch.rand(*shape, self.count, device=self.device, dtype=self.dtype)
        return self._choose(spread * (2 * share - 1), self.p if p is None else p)

    def normal(self, deviation: float, *shape: int) -> Tensor:
        """Normal around 0."""
        value = torch.randn(*shape, self.count, device=self.device, dtype=self.dtype)
        return self._choose(deviation * value, self.p)

    def _choose(self, value: Tensor, p: Tensor) -> Tensor:
        return value * (torch.rand(self.count, device=self.device) < p)


def _placement(draws: _Draws, height: int, width: int) -> Tensor:
    """Maps ``[N, 3, 3]`` from places (x, y, 1) in the result to places in the image, both counted from the middle.

    Each change comes after those before it, so its inverse is multiplied from the right.
    """
    mirror = 1 - 2 * draws.integer(2)
    inverse = _matrix(mirror, 0, 0, 0, 1, 0)
    turn = math.pi / 2 * (draws.integer(4) if height == width else 2 * draws.integer(2))
    inverse = inverse @ _rotation(turn.cos().round(), turn.sin().round())
    right, down = draws.uniform(1 / 8, 2)
    inverse = inverse @ _shift((right * width).round(), (down * height).round())
    size = draws.normal(0.2).exp2()
    inverse = inverse @ _scaling(size, size)
    # There are two rotations, of which one at least takes place with probability p.
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
    """The matrices ``[N, 3, 3]`` with these six entries ``[N]`` above a row 0, 0, 1; some entries may be numbers."""
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    columns = [torch.zeros_like(like) + entry for entry in (*entries, 0, 0, 1)]
    return torch.stack(columns, 1).view(-1, 3, 3)


def _scaling(x: Tensor, y: Tensor) -> Tensor:
    """The inverse of making things x times as wide and y times as high."""
    return _matrix(1 / x, 0, 0, 0, 1 / y, 0)


def _rotation(cos: Tensor, sin: Tensor) -> Tensor:
    """The inverse of a rotation."""
    return _matrix(cos, sin, 0, -sin, cos, 0)


def _shift(right: Tensor, down: Tensor) -> Tensor:
    """The inverse of a translation."""
    return _matrix(1, 0, -right, 0, 1, -down)


def _warp(images: Tensor, inverse: Tensor) -> Tensor:
    """Sample images ``[N, C, H, W]`` bilinearly where maps ``[N, 3, 3]`` say; mirrored at their edges without end.

    It is written with gathers because grid_sample has no deterministic backward on CUDA.
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
    """Indices into a row of `size` pixels that is followed by its mirror image, over and over."""
    index = index % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _recolor(images: Tensor, draws: _Draws) -> Tensor:
    """Change brightness, contrast and the sign of the grey part; in RGB also hue and saturation.

    The grey part of a pixel is the mean of its channels, hue is an angle around the grey axis.
    """

    def shaped(value: Tensor) -> Tensor:
        return value[:, None, None, None].to(images.dtype)

    images = images + shaped(draws.normal(0.2))
    images = images * shaped(draws.normal(0.5).exp2())
    images = images - shaped(2 * draws.integer(2)) * images.mean(1, keepdim=True)
    if images.shape[1] == 3:
        grey, hue = images.mean(1, keepdim=True), draws.uniform(math.pi)
        across = (images.roll(-2, 1) - images.roll(-1, 1)) / math.sqrt(3)  # the grey axis times the colour
        images = grey.lerp(images, shaped(hue.cos())) + across * shaped(hue.sin())
        images = grey.lerp(images, shaped(draws.normal(1.0).exp2()))
    return images


@hookimpl
def ganforge_augmentations() -> dict[str, type[Augmentation]]:
    """Offer the augmentation."""
    return {"ada": ADA}
