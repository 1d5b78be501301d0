"""How an avatar is drawn: flat shapes given by signed distances, painted from back to front.

Coordinates run from -1 to 1 over the frame, x to the right and y downwards, with the head about the origin. A shape
covers ``clamp(0.5 - distance / pixel size)`` of a pixel, which smooths its edge at every resolution. Only exactly
rounded arithmetic is used, so that a picture depends neither on its batch nor on the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, maximum, minimum

_WHITE, _INK, _ROSE, _LIP = torch.tensor(
    [[255.0, 255.0, 255.0], [43.0, 35.0, 40.0], [236.0, 98.0, 98.0], [190.0, 74.0, 74.0]]
).view(4, 3, 1, 1)


def circle(x: Tensor, y: Tensor, radius: float | Tensor) -> Tensor:
    """Signed distance to a circle about the origin."""
    return (x * x + y * y).sqrt() - radius


def ellipse(x: Tensor, y: Tensor, width: float | Tensor, height: float) -> Tensor:
    """Signed distance to an ellipse of these half axes, to first order."""
    u, v = x / width, y / height
    level, steepness = circle(u, v, 0), circle(u / width, v / height, 0)
    return level * (level - 1) / steepness.clamp_min(1e-4)


def meet(first: Tensor, second: Tensor, corner: float) -> Tensor:
    """Signed distance to the intersection of two shapes, its corner rounded to this radius."""
    first, second = first + corner, second + corner
    return circle(first.clamp_min(0), second.clamp_min(0), corner) + maximum(first, second).clamp_max(0)


def box(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor, corner: float) -> Tensor:
    """Signed distance to a box of these half sides with rounded corners."""
    return meet(x.abs() - width, y.abs() - height, corner)


def under(x: Tensor, y: Tensor, bend: float | Tensor) -> Tensor:
    """Signed distance to what lies below the curve ``y = bend * x * x``, to first order."""
    slope = 2 * bend * x
    return (bend * x * x - y) / (1 + slope * slope).sqrt()


def stroke(x: Tensor, y: Tensor, bend: float | Tensor, width: float | Tensor, thickness: float) -> Tensor:
    """Signed distance to a line along ``y = bend * x * x`` with round ends at ``x = -width`` and ``width``."""
    past, drop = x.abs() - width, y - bend * width * width
    beyond_end = past + 2 * bend * width * drop > 0
    return torch.where(beyond_end, circle(past, drop, 0), under(x, y, bend).abs()) - thickness


def darker(colour: Tensor, amount: float) -> Tensor:
    """A shade of a colour that turns warmer as it darkens."""
    return colour * (1 - amount * torch.tensor([0.8, 1.12, 1.12]).view(3, 1, 1))


def lighter(colour: Tensor, amount: float) -> Tensor:
    """A tint of a colour."""
    return colour + (255 - colour) * amount


@dataclass(frozen=True)
class Pen:
    """What is painted on, one window of N images, and where its pixels lie on the faces.

    Attributes:
        pixels: ``[N, 3, H, W]`` in [0, 255], painted in place.
        x: ``[N, H, W]``.
        y: ``[N, H, W]``.
        pixel: Width of a pixel.
        attributes: What is known of the faces, each ``[N, 1, 1]``.
        colours: Those attributes that stand for colours, each ``[N, 3, 1, 1]``.
    """

    pixels: Tensor
    x: Tensor
    y: Tensor
    pixel: float
    attributes: Mapping[str, Tensor]
    colours: Mapping[str, Tensor]

    def __getitem__(self, attribute: str) -> Tensor:
        return self.attributes[attribute]

    def within(self, faces: Tensor | slice, rows: slice, columns: slice) -> Pen:
        """A pen for some faces and a part of the window; a copy if the faces are given by index."""
        return Pen(
            self.pixels[faces, :, rows, columns],
            self.x[faces, rows, columns],
            self.y[faces, rows, columns],
            self.pixel,
            {name: values[faces] for name, values in self.attributes.items()},
            {name: values[faces] for name, values in self.colours.items()},
        )

    def fill(self, shape: Tensor, colour: Tensor, opacity: float = 1, blur: float = 0) -> None:
        """Paint the inside of a signed distance ``[N, H, W]``, with an edge of one pixel and the blur."""
        coverage = (0.5 - shape / (self.pixel + blur)).clamp_(0, 1).mul_(opacity)
        self.pixels.add_((colour - self.pixels).mul_(coverage.unsqueeze(1)))


PARTS: list[tuple[Callable[[Pen], None], tuple[float, ...], dict[str, int]]] = []
"""From back to front: what paints a part, its window (left, top, right, bottom), and the attributes that show it."""

HAIR_STYLES = ("bald", "crop", "swept", "side part", "fringe", "curtain", "curls", "afro", "bun")
"""Names of the values of the attribute ``hair_style``."""
AFRO, BUN = HAIR_STYLES.index("afro"), HAIR_STYLES.index("bun")


def part(*window: float, **shown_by: int) -> Callable[[Callable[[Pen], None]], Callable[[Pen], None]]:
    """Append a function to `PARTS`; what stands further down in this file is painted further to the front."""

    def append(paint: Callable[[Pen], None]) -> Callable[[Pen], None]:
        PARTS.append((paint, window, shown_by))
        return paint

    return append


def _head(pen: Pen, grow: float = 0, right: float = 0, down: float = 0) -> Tensor:
    y = pen.y + 0.04 - down
    return box((pen.x - right) * (1 + 0.1 * y), y, pen["head_width"] + grow, 0.58 + grow, 0.4 + grow)


@part(-1, -1, 1, 1)
def _background(pen: Pen) -> None:
    pen.pixels.copy_(lighter(pen.colours["background"], 0.5).expand_as(pen.pixels))
    pen.fill(circle(pen.x, pen.y, 0.9), pen.colours["background"])


@part(-0.65, -0.1, 0.65, 0.22)
def _ears(pen: Pen) -> None:
    skin, x, y = pen.colours["skin"], pen.x.abs() - pen["head_width"], pen.y - 0.06
    pen.fill(ellipse(x, y, 0.1, 0.13), skin)
    pen.fill(ellipse(x - 0.01, y, 0.05, 0.075), darker(skin, 0.2))


def _strands(pen: Pen, shape: Tensor, colour: Tensor) -> None:
    pressed_by_hat = meet(shape, -0.4 - pen.y, 0.16)
    pen.fill(torch.where(pen["hat"] == 1, pressed_by_hat, shape), colour)


@part(-0.75, -0.75, 0.75, 0.95, long_hair=1)
def _long_hair(pen: Pen) -> None:
    half = 0.57 + 0.22 * pen["hair_length"]
    shape = box(pen.x * (1 - 0.08 * pen.y), pen.y + 0.68 - half, pen["head_width"] + 0.13, half, 0.36)
    _strands(pen, shape, darker(pen.colours["hair_colour"], 0.2))


@part(-0.7, -0.92, 0.7, 0.48, hair_style=AFRO)
@part(-0.22, -0.98, 0.22, -0.5, hair_style=BUN)
def _ball_of_hair(pen: Pen) -> None:
    afro, x, colour = pen["hair_style"] == AFRO, pen.x, pen.colours["hair_colour"]
    y, radius = pen.y + torch.where(afro, 0.22, 0.77), torch.where(afro, 0.68, 0.19)
    ball = circle(x, y, radius)
    _strands(pen, ball, colour)
    _strands(pen, maximum(ball, -circle(x + 0.05, y + 0.03, radius)), darker(colour, 0.2))


@part(-0.8, 0.38, 0.8, 1.1)
def _body(pen: Pen) -> None:
    skin, shirt, x, y = pen.colours["skin"], pen.colours["shirt_colour"], pen.x, pen.y
    torso = box(x, y - 1.25, 0.76, 0.56, 0.4)
    v_neck = maximum((x.abs() + (y - 0.92) * 0.8) * 0.78, 0.6 - y)
    neckline = torch.where(pen["collar"] == 2, v_neck, ellipse(x, y - 0.69, 0.24, 0.13))
    trim = torch.where(pen["collar"].unsqueeze(1) == 1, _WHITE, darker(shirt, 0.2))
    throat = minimum(box(x, y - 0.58, 0.17, 0.14, 0.02), maximum(neckline, torso - 0.01))
    pen.fill(torso, shirt)
    pen.fill(maximum(neckline - 0.045, torso), trim)
    pen.fill(throat, skin)
    pen.fill(maximum(throat, _head(pen, down=0.1)), darker(skin, 0.22))


@part(-0.58, -0.66, 0.58, 0.58)
def _face(pen: Pen) -> None:
    skin, shape = pen.colours["skin"], _head(pen)
    pen.fill(shape, skin)
    pen.fill(maximum(shape, -_head(pen, right=-0.07, down=-0.03)), darker(skin, 0.1))


@part(-0.5, 0.02, 0.5, 0.34)
def _blush_and_nose(pen: Pen) -> None:
    pen.fill(ellipse(pen.x.abs() - 0.29, pen.y - 0.19, 0.09, 0.07), _ROSE, opacity=0.32, blur=0.1)
    pen.fill(stroke(pen.x, pen.y - 0.175, -5, 0.055, 0.021), darker(pen.colours["skin"], 0.3))


@part(-0.58, 0, 0.58, 0.58, beard=1)
def _beard(pen: Pen) -> None:
    bare = ellipse(pen.x, pen.y + 0.02, pen["head_width"] - 0.07, 0.27)
    pen.fill(maximum(_head(pen, 0.015), maximum(-bare, 0.02 - pen.y)), darker(pen.colours["hair_colour"], 0.1))


@part(-0.22, 0.15, 0.22, 0.35, moustache=1)
def _moustache(pen: Pen) -> None:
    pen.fill(stroke(pen.x.abs() - 0.075, pen.y - 0.245, 4, 0.075, 0.038), darker(pen.colours["hair_colour"], 0.1))


@part(-0.25, 0.25, 0.25, 0.5)
def _lips(pen: Pen) -> None:
    smile = pen["smile"] == 1
    bend, width = torch.where(smile, -3.2, -pen["mouth_curve"]), torch.where(smile, 0.18, 0.12)
    pen.fill(stroke(pen.x, pen.y - torch.where(smile, 0.39, 0.35), bend, width, 0.028), _LIP)


@part(-0.25, 0.25, 0.25, 0.5, smile=1, teeth=1)
def _laugh(pen: Pen) -> None:
    x, y = pen.x, pen.y
    mouth = maximum(under(x, y - 0.29, -0.5), -under(x, y - 0.45, -5)) - 0.02
    pen.fill(mouth, darker(_LIP, 0.45))
    pen.fill(maximum(mouth, ellipse(x, y - 0.46, 0.1, 0.07)), _ROSE)
    pen.fill(maximum(mouth + 0.016, y - 0.35), _WHITE)


def _lenses(pen: Pen) -> Tensor:
    x, y, style = pen.x.abs() - 0.205, pen.y - 0.01, pen["glasses_style"]
    square, soft = box(x, y, 0.165, 0.135, 0.045), box(x, y - 0.01, 0.17, 0.15, 0.11)
    return torch.where(style == 0, circle(x, y, 0.168), torch.where(style == 1, square, soft))


@part(-0.42, -0.2, 0.42, 0.22, glasses=1)
def _panes(pen: Pen) -> None:
    pen.fill(_lenses(pen), _WHITE, opacity=0.4)


@part(-0.36, -0.32, 0.36, 0.16)
def _eyes(pen: Pen) -> None:
    x, y = pen.x.abs() - 0.2, pen.y
    pen.fill(circle(x, y, 0.115), _WHITE)
    pen.fill(circle(x, y - 0.005, 0.082), pen.colours["eye_colour"])
    pen.fill(circle(x, y - 0.005, 0.046), _INK)
    pen.fill(circle(pen.x - torch.where(pen.x > 0, 0.17, -0.23), y + 0.035, 0.03), _WHITE)
    pen.fill(stroke(x, y + 0.115, 3.6, 0.115, 0.02), _INK)
    brow = stroke(x - 0.005, y + 0.235 - pen["brow_slant"] * x, 1.8, 0.095, 0.025)
    pen.fill(brow, darker(pen.colours["hair_colour"], 0.25))


def _scalp(pen: Pen, thickness: float, bare: Tensor, sides: float) -> Tensor:
    """Hair over the skull, but for the bare forehead; beside the face it ends at the height ``sides``."""
    return meet(maximum(_head(pen, thickness), -bare), pen.y - sides, 0.03)


def _forehead(pen: Pen, x: float, y: float, left: float, right: float) -> Tensor:
    """What lies below a hairline that peaks at a point and bends down to both sides of it."""
    from_peak = pen.x - x
    return under(from_peak, pen.y - y, torch.where(from_peak < 0, left, right))


def _hair_shape(pen: Pen, style: int) -> Tensor:
    x, side, y, width = pen.x, pen.x.abs(), pen.y, pen["head_width"]
    match HAIR_STYLES[style]:
        case "side part":
            return _scalp(pen, 0.07, _forehead(pen, 0.2, -0.5, 0.8, 4.5), 0.06)
        case "fringe":
            return _scalp(pen, 0.07, maximum(_forehead(pen, 0, -0.28, 0.2, 0.2), side - width + 0.05), 0.12)
        case "curtain":
            return _scalp(pen, 0.07, minimum(circle(side + 0.2, y - 0.1, 0.63), maximum(side - 0.41, -y)), 0.16)
        case "curls":
            hair = _scalp(pen, 0.06, _forehead(pen, 0, -0.4, 1.2, 1.2), 0)
            for right, up in ((0, 62), (22, 58), (40, 44), (48, 24), (48, 5), (12, 44), (32, 32)):
                hair = minimum(hair, circle(side - right / 100, y + up / 100, 0.135))
            return hair
        case "afro":
            return _scalp(pen, 0.09, ellipse(x, y - 0.1, width - 0.02, 0.46), 0)
        case "bun":
            return _scalp(pen, 0.05, _forehead(pen, 0, -0.46, 1.5, 1.5), 0)
    crop = _scalp(pen, 0.05, box(x, y - 0.26, width - 0.05, 0.6, 0.16), 0.02)
    if HAIR_STYLES[style] == "crop":
        return crop
    tuft = ellipse(x - 0.04, y + 0.56, 0.47, 0.26)
    return minimum(crop, maximum(tuft, -_forehead(pen, -0.3, -0.42, 6, 0.35)))


def _hair(pen: Pen, style: int) -> None:
    hair, colour, x = _hair_shape(pen, style), pen.colours["hair_colour"], pen.x + 0.2
    shine = stroke(x, pen.y + 0.53 + 0.4 * x, 0.9, 0.1, 0.024)
    _strands(pen, maximum(hair - 0.035, _head(pen)), darker(pen.colours["skin"], 0.2))
    _strands(pen, hair, colour)
    _strands(pen, maximum(shine, hair + 0.02), lighter(colour, 0.25))


for _style in range(1, len(HAIR_STYLES)):
    part(-0.68, -0.88, 0.68, 0.18, hair_style=_style)(partial(_hair, style=_style))


@part(-0.58, -0.2, 0.58, 0.22, glasses=1)
def _frames(pen: Pen) -> None:
    lenses, x, y, reach = _lenses(pen), pen.x, pen.y, (pen["head_width"] - 0.36) / 2
    arms = box(x.abs() - 0.37 - reach, y + 0.03, reach, 0.022, 0.01)
    bridge = maximum(stroke(x, y + 0.035, 4, 0.07, 0.022), -lenses)
    pen.fill(minimum(lenses.abs() - 0.025, minimum(arms, bridge)), pen.colours["glasses_colour"])


def _crown(pen: Pen, brim: Tensor) -> None:
    """What beanie and cap share, and the shadow that falls from the brim on the face."""
    x, y, width, colour = pen.x, pen.y + 0.33, pen["head_width"] + 0.07, pen.colours["hat_colour"]
    crown = meet(box(x, y, width, 0.52, 0.42), y, 0.02)
    pen.fill(maximum(_head(pen), brim - 0.04), _INK, opacity=0.2)
    pen.fill(crown, colour)
    pen.fill(maximum(crown, -box(x + 0.1, y - 0.04, width, 0.53, 0.42)), darker(colour, 0.14))


@part(-0.66, -1, 0.66, -0.18, hat=1, hat_style=0)
def _beanie(pen: Pen) -> None:
    x, y, pale = pen.x, pen.y, lighter(pen.colours["hat_colour"], 0.3)
    brim = box(x, y + 0.385, pen["head_width"] + 0.1, 0.105, 0.07)
    pen.fill(circle(x, y + 0.87, 0.11), pale)
    _crown(pen, brim)
    pen.fill(brim, pale)


@part(-0.66, -1, 0.66, -0.18, hat=1, hat_style=1)
def _cap(pen: Pen) -> None:
    x, y, colour = pen.x, pen.y, pen.colours["hat_colour"]
    visor = maximum(under(x, y + 0.48, 0.45), -under(x, y + 0.3, 0.1))
    visor = meet(visor, x.abs() - pen["head_width"] - 0.1, 0.03)
    pen.fill(circle(x, y + 0.85, 0.045), darker(colour, 0.25))
    _crown(pen, visor)
    pen.fill(circle(x, y + 0.63, 0.1), lighter(colour, 0.8))
    pen.fill(visor, darker(colour, 0.25))
