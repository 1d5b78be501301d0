"""Charts as SVG: axes, lines that differ in color and dashes, and a text alternative."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ganforge.core.text import escape_html

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 10, 28
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 4", "12 4")
MAX_POINTS = 400
"""Maximum points of a line; longer lines are subsampled."""
LARGEST = 1e100
"""Maximum magnitude that is drawn, which keeps the span of an axis finite."""


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: Name in the legend.
        points: Pairs of images and value; a non-finite value, or one beyond `LARGEST`, breaks the line.
        look: Number of the color and dashes.
    """

    name: str
    points: Sequence[tuple[int, float]]
    look: int = 0


def draw_chart(title: str, lines: Sequence[Line]) -> str:
    """Return a chart of lines over images as SVG, with a legend.

    Args:
        title: Title, for screen readers.
        lines: Lines, at least one of them with a drawable point (`has_points`).
    """
    finite = [value for line in lines for _, value in line.points if abs(value) <= LARGEST]
    low, high, steps = _axis(min(finite), max(finite))
    most = max(max(images for images, _ in line.points) for line in lines if line.points)
    _, end, images_steps = _axis(0, most)

    def x(images: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * images / end

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low) if abs(value) <= LARGEST else math.nan

    parts = []
    for step in steps:
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(step):.1f}" y2="{y(step):.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(step) + 4:.1f}" text-anchor="end">{_short(step)}</text>')
    for step in images_steps:
        anchor = "end" if x(step) > WIDTH - 40 else "middle"
        parts.append(
            f'<text class="below" x="{x(step):.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{_short(step)}</text>'
        )
    for line in lines:
        path = _path([(x(images), y(value)) for images, value in _thin(line.points)])
        parts.append(f'<path {_style(line)} d="{path}"/>')
    words = escape_html(f"{title}. " + "; ".join(_describe(line) for line in lines))
    legend = "".join(
        f'<li><svg width="28" height="10" aria-hidden="true"><path {_style(line)} d="M0 5H28"/></svg>'
        f" {escape_html(line.name)} <b>{_last(line)}</b></li>"
        for line in lines
    )
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
        f'<ul class="legend">{legend}</ul>'
    )


def has_points(points: Sequence[tuple[int, float]]) -> bool:
    """Return whether any point can be drawn."""
    return any(abs(value) <= LARGEST for _, value in points)


def _style(line: Line) -> str:
    number = line.look % len(DASHES)
    return f'class="line line-{number}" stroke-dasharray="{DASHES[number] or "none"}"'


def _axis(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return rounded limits around two values, and the ticks between them."""
    if high - low < 1e-9 * max(1.0, abs(high)):
        margin = max(0.5, 1e-9 * abs(high))
        low, high = max(low - margin, 0.0) if low >= 0 else low - margin, high + margin
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return first * step, last * step, [number * step for number in range(first, last + 1)]


def _thin(points: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    every = math.ceil(len(points) / MAX_POINTS)
    return [*points[:-1][::every], points[-1]] if points else []


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return an SVG path; a non-finite value breaks it."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(y):
            parts.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    if len(parts) == 1:  # the round cap makes a single point visible
        parts.append(parts[0].replace("M", "L"))
    return "".join(parts)


def _describe(line: Line) -> str:
    finite = [value for _, value in line.points if math.isfinite(value)]
    if not finite:
        return f"{line.name}: never finite"
    return f"{line.name}: from {finite[0]:.3g} to {finite[-1]:.3g}, between {min(finite):.3g} and {max(finite):.3g}"


def _last(line: Line) -> str:
    return f"{line.points[-1][1]:.3g}" if line.points else ""


def _short(value: float) -> str:
    """Format a tick: 250k, 1.5M, 0.05."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.4g}" if abs(value) > 1e-12 else "0"
