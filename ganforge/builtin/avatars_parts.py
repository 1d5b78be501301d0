"""Parts of an avatar, from back to front; `avatars_drawing` has shapes, coordinates and the pen."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, maximum, minimum

from ganforge.builtin.avatars_drawing import Pen, box, circle, darker, ellipse, lighter, meet, stroke, under

_WHITE, _INK, _ROSE, _PINK, _WINE = (
    torch.tensor(color, dtype=torch.float32).view(3, 1, 1)
    for color in ((255, 255, 255), (43, 35, 40), (236, 98, 98), (238, 124, 118), (126, 30, 42))
)


PARTS: list[tuple[Callable[[Pen], None], tuple[float, ...], dict[str, int]]] = []
"""Painting function, window (left, top, right, bottom) and required attributes of each part, from back to front."""

HAIR_STYLES = ("bald", "crop", "swept", "side part", "fringe", "curtain", "curls", "afro", "bun")
"""Names of the values of ``hair_style``."""
AFRO, BUN = HAIR_STYLES.index("afro"), HAIR_STYLES.index("bun")


def part(*window: float, **shown_by: int) -> Callable[[Callable[[Pen], None]], Callable[[Pen], None]]:
    """Append a function to `PARTS`; later functions in this file paint in front."""

    def append(paint: Callable[[Pen], None]) -> Callable[[Pen], None]:
        PARTS.append((paint, window, shown_by))
        return paint

    return append


def _head(pen: Pen, grow: float = 0, right: float = 0, down: float = 0) -> Tensor:
    y = pen.y + 0.04 - down
    return box((pen.x - right) * (1 + 0.1 * y), y, pen["head_width"] + grow, 0.58 + grow, 0.4 + grow)


@part(-1, -1, 1, 1)
def _background(pen: Pen) -> None:
    pen.pixels.copy_(lighter(pen.colors["background"], 0.5).expand_as(pen.pixels))
    pen.fill(circle(pen.x, pen.y, 0.9), pen.colors["background"])


@part(-0.65, -0.1, 0.65, 0.22)
def _ears(pen: Pen) -> None:
    skin, x, y = pen.colors["skin"], pen.x.abs() - pen["head_width"], pen.y - 0.06
    pen.fill(ellipse(x, y, 0.1, 0.13), skin)
    pen.fill(ellipse(x - 0.01, y, 0.05, 0.075), darker(skin, 0.2))


def _strands(pen: Pen, shape: Tensor, color: Tensor) -> None:
    pressed_by_hat = meet(shape, -0.4 - pen.y, 0.16)
    pen.fill(torch.where(pen["hat"] == 1, pressed_by_hat, shape), color)


@part(-0.75, -0.75, 0.75, 0.95, long_hair=1)
def _long_hair(pen: Pen) -> None:
    half = 0.57 + 0.22 * pen["hair_length"]
    shape = box(pen.x * (1 - 0.08 * pen.y), pen.y + 0.68 - half, pen["head_width"] + 0.13, half, 0.36)
    _strands(pen, shape, darker(pen.colors["hair_colour"], 0.2))


@part(-0.7, -0.92, 0.7, 0.48, hair_style=AFRO)
@part(-0.22, -0.98, 0.22, -0.5, hair_style=BUN)
def _ball_of_hair(pen: Pen) -> None:
    afro, x, color = pen["hair_style"] == AFRO, pen.x, pen.colors["hair_colour"]
    y, radius = pen.y + torch.where(afro, 0.22, 0.77), torch.where(afro, 0.68, 0.19)
    ball = circle(x, y, radius)
    _strands(pen, ball, color)
    _strands(pen, maximum(ball, -circle(x + 0.05, y + 0.03, radius)), darker(color, 0.2))


@part(-0.8, 0.38, 0.8, 1.1)
def _body(pen: Pen) -> None:
    skin, shirt, x, y = pen.colors["skin"], pen.colors["shirt_colour"], pen.x, pen.y
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
    skin, shape = pen.colors["skin"], _head(pen)
    pen.fill(shape, skin)
    pen.fill(maximum(shape, -_head(pen, right=-0.07, down=-0.03)), darker(skin, 0.1))


@part(-0.5, 0.02, 0.5, 0.34)
def _blush_and_nose(pen: Pen) -> None:
    pen.fill(ellipse(pen.x.abs() - 0.29, pen.y - 0.19, 0.09, 0.07), _ROSE, opacity=0.32, blur=0.1)
    pen.fill(stroke(pen.x, pen.y - 0.175, -5, 0.055, 0.021), darker(pen.colors["skin"], 0.3))


@part(-0.58, 0, 0.58, 0.58, beard=1)
def _beard(pen: Pen) -> None:
    bare = ellipse(pen.x, pen.y + 0.02, pen["head_width"] - 0.07, 0.27)
    pen.fill(maximum(_head(pen, 0.015), maximum(-bare, 0.02 - pen.y)), darker(pen.colors["hair_colour"], 0.1))


@part(-0.22, 0.15, 0.22, 0.35, moustache=1)
def _moustache(pen: Pen) -> None:
    pen.fill(stroke(pen.x.abs() - 0.075, pen.y - 0.245, 4, 0.075, 0.038), darker(pen.colors["hair_colour"], 0.1))


@part(-0.26, 0.2, 0.26, 0.5)
def _lips(pen: Pen) -> None:
    smile, beard = pen["smile"] == 1, pen["beard"].unsqueeze(1) == 1
    about = torch.where(beard, pen.colors["hair_colour"], pen.colors["skin"]).mean(1, keepdim=True)
    color = torch.where(about < 105, _PINK, _WINE + 0.4 * (about - 105))  # contrasts with skin or beard
    bend, width = torch.where(smile, -3.6, -pen["mouth_curve"]), torch.where(smile, 0.195, 0.12)
    pen.fill(stroke(pen.x, pen.y - torch.where(smile, 0.415, 0.35), bend, width, 0.033), color)


@part(-0.25, 0.25, 0.25, 0.5, smile=1, teeth=1)
def _laugh(pen: Pen) -> None:
    x, y = pen.x, pen.y
    mouth = maximum(under(x, y - 0.285, -0.5), -under(x, y - 0.46, -5)) - 0.02
    pen.fill(mouth, darker(_WINE, 0.2))
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
    pen.fill(circle(x, y - 0.005, 0.082), pen.colors["eye_colour"])
    pen.fill(circle(x, y - 0.005, 0.046), _INK)
    pen.fill(circle(pen.x - torch.where(pen.x > 0, 0.17, -0.23), y + 0.035, 0.03), _WHITE)
    pen.fill(stroke(x, y + 0.115, 3.6, 0.115, 0.02), _INK)
    brow = stroke(x - 0.005, y + 0.235 - pen["brow_slant"] * x, 1.8, 0.095, 0.025)
    pen.fill(brow, darker(pen.colors["hair_colour"], 0.25))


def _scalp(pen: Pen, thickness: float, bare: Tensor, sides: float) -> Tensor:
    """Hair over the skull except a bare forehead; beside the face it ends at height ``sides``."""
    return meet(maximum(_head(pen, thickness), -bare), pen.y - sides, 0.03)


def _forehead(pen: Pen, x: float, y: float, left: float, right: float) -> Tensor:
    """Area below a hairline with its peak at a point."""
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
    hair, color, x = _hair_shape(pen, style), pen.colors["hair_colour"], pen.x + 0.2
    shine = stroke(x, pen.y + 0.53 + 0.4 * x, 0.9, 0.1, 0.024)
    _strands(pen, maximum(hair - 0.035, _head(pen)), darker(pen.colors["skin"], 0.2))
    _strands(pen, hair, color)
    _strands(pen, maximum(shine, hair + 0.02), lighter(color, 0.25))


for _style in range(1, len(HAIR_STYLES)):
    part(-0.68, -0.88, 0.68, 0.18, hair_style=_style)(partial(_hair, style=_style))


@part(-0.58, -0.2, 0.58, 0.22, glasses=1)
def _frames(pen: Pen) -> None:
    lenses, x, y, reach = _lenses(pen), pen.x, pen.y, (pen["head_width"] - 0.36) / 2
    arms = box(x.abs() - 0.37 - reach, y + 0.03, reach, 0.022, 0.01)
    bridge = maximum(stroke(x, y + 0.035, 4, 0.07, 0.022), -lenses)
    pen.fill(minimum(lenses.abs() - 0.025, minimum(arms, bridge)), pen.colors["glasses_colour"])


def _crown(pen: Pen, brim: Tensor) -> None:
    """Crown of beanie and cap, and the shadow of the brim."""
    x, y, width, color = pen.x, pen.y + 0.33, pen["head_width"] + 0.07, pen.colors["hat_colour"]
    crown = meet(box(x, y, width, 0.52, 0.42), y, 0.02)
    pen.fill(maximum(_head(pen), brim - 0.04), _INK, opacity=0.2)
    pen.fill(crown, color)
    pen.fill(maximum(crown, -box(x + 0.1, y - 0.04, width, 0.53, 0.42)), darker(color, 0.14))


@part(-0.66, -1, 0.66, -0.18, hat=1, hat_style=0)
def _beanie(pen: Pen) -> None:
    x, y, pale = pen.x, pen.y, lighter(pen.colors["hat_colour"], 0.3)
    brim = box(x, y + 0.385, pen["head_width"] + 0.1, 0.105, 0.07)
    pen.fill(circle(x, y + 0.87, 0.11), pale)
    _crown(pen, brim)
    pen.fill(brim, pale)


@part(-0.66, -1, 0.66, -0.18, hat=1, hat_style=1)
def _cap(pen: Pen) -> None:
    x, y, color = pen.x, pen.y, pen.colors["hat_colour"]
    visor = maximum(under(x, y + 0.48, 0.45), -under(x, y + 0.3, 0.1))
    visor = meet(visor, x.abs() - pen["head_width"] - 0.1, 0.03)
    pen.fill(circle(x, y + 0.85, 0.045), darker(color, 0.25))
    _crown(pen, visor)
    pen.fill(circle(x, y + 0.63, 0.1), lighter(color, 0.8))
    pen.fill(visor, darker(color, 0.25))
