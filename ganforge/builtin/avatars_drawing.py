"""Drawing of avatars: flat shapes as signed distances, painted from back to front.

Coordinates run from -1 to 1 over the frame, x to the right and y downwards, with the head at the origin. A shape covers
``clamp(0.5 - distance / pixel size)`` of a pixel, which smooths edges at every resolution. Only exactly rounded
arithmetic is used, so that images depend neither on the batch nor on the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, maximum


def circle(x: Tensor, y: Tensor, radius: float | Tensor) -> Tensor:
    """Signed distance to a circle at the origin."""
    return (x * x + y * y).sqrt() - radius


def ellipse(x: Tensor, y: Tensor, width: float | Tensor, height: float) -> Tensor:
    """Signed distance to an ellipse with these half axes, to first order."""
    u, v = x / width, y / height
    level, steepness = circle(u, v, 0), circle(u / width, v / height, 0)
    return level * (level - 1) / steepness.clamp_min(1e-4)


def meet(first: Tensor, second: Tensor, corner: float) -> Tensor:
    """Signed distance to the intersection of two shapes, with a rounded corner."""
    first, second = first + corner, second + corner
    return circle(first.clamp_min(0), second.clamp_min(0), corner) + maximum(first, second).clamp_max(0)


def box(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor, corner: float) -> Tensor:
    """Signed distance to a box with these half sides and rounded corners."""
    return meet(x.abs() - width, y.abs() - height, corner)


def under(x: Tensor, y: Tensor, bend: float | Tensor) -> Tensor:
    """Signed distance to the area below ``y = bend * x * x``, to first order."""
    slope = 2 * bend * x
    return (bend * x * x - y) / (1 + slope * slope).sqrt()


def stroke(x: Tensor, y: Tensor, bend: float | Tensor, width: float | Tensor, thickness: float) -> Tensor:
    """Signed distance to a line along ``y = bend * x * x`` with round ends at ``x = -width`` and ``width``."""
    past, drop = x.abs() - width, y - bend * width * width
    beyond_end = past + 2 * bend * width * drop > 0
    return torch.where(beyond_end, circle(past, drop, 0), under(x, y, bend).abs()) - thickness


def darker(color: Tensor, amount: float) -> Tensor:
    """Darken a color and shift it to red."""
    return color * (1 - amount * torch.tensor([0.8, 1.12, 1.12]).view(3, 1, 1))


def lighter(color: Tensor, amount: float) -> Tensor:
    """Mix a color with white."""
    return color + (255 - color) * amount


@dataclass(frozen=True)
class Pen:
    """Canvas of one window of N images: pixels ``[N, 3, H, W]`` in [0, 255], and coordinates x and y ``[N, H, W]``.

    `pixel` is the width of a pixel; attributes are ``[N, 1, 1]``, colors ``[N, 3, 1, 1]``.
    """

    pixels: Tensor
    x: Tensor
    y: Tensor
    pixel: float
    attributes: Mapping[str, Tensor]
    colors: Mapping[str, Tensor]

    def __getitem__(self, attribute: str) -> Tensor:
        return self.attributes[attribute]

    def within(self, faces: Tensor | slice, rows: slice, columns: slice) -> Pen:
        """Return a pen for some faces and a part of the window; a copy if faces are given by index."""
        return Pen(
            self.pixels[faces, :, rows, columns],
            self.x[faces, rows, columns],
            self.y[faces, rows, columns],
            self.pixel,
            {name: values[faces] for name, values in self.attributes.items()},
            {name: values[faces] for name, values in self.colors.items()},
        )

    def fill(self, shape: Tensor, color: Tensor, opacity: float = 1, blur: float = 0) -> None:
        """Paint the inside of a signed distance ``[N, H, W]``, with an edge of one pixel plus the blur."""
        coverage = (0.5 - shape / (self.pixel + blur)).clamp_(0, 1).mul_(opacity)
        self.pixels.add_((color - self.pixels).mul_(coverage.unsqueeze(1)))
