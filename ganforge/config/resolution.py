"""Resolutions: an edge in pixels for square images, or WIDTHxHEIGHT."""

from __future__ import annotations

import re
from typing import Any

from ganforge.config.limits import check_range
from ganforge.contract.errors import OptionError
from ganforge.plugins.options import coerce

Resolution = int | str
"""Edge of square images in pixels, or a text such as ``256x192``, width first."""

MOST_PIXELS = 16_384
"""Maximum edge of an image in pixels; such a square takes 3 GB in float32."""


def read_resolution(value: Any, where: str) -> Resolution | None:
    """Read a resolution or None, from a number or text.

    Args:
        value: ``64``, ``"64"``, ``"256x192"``, None or ``"none"``.
        where: Name of the setting, for messages.

    Returns:
        The edge for squares, also for ``"64x64"``.

    Raises:
        OptionError: Invalid, or an edge outside 1 to `MOST_PIXELS`.
    """
    match = re.fullmatch(r"\s*(\d{1,9})\s*x\s*(\d{1,9})\s*", value, re.IGNORECASE) if isinstance(value, str) else None
    try:
        found = write_resolution((int(match[2]), int(match[1]))) if match else coerce(value, int | None, where)
    except OptionError:
        raise OptionError(
            f"{where}: {value!r} is not a resolution", "such as 64, or 256x192 for 256 pixels wide and 192 high"
        ) from None
    for edge in () if found is None else size_of(found):
        check_range(where, edge, 1, most=MOST_PIXELS)
    return found


def size_of(resolution: Resolution) -> tuple[int, int]:
    """Return height and width in pixels."""
    if isinstance(resolution, int):
        return resolution, resolution
    width, height = map(int, resolution.split("x"))
    return height, width


def write_resolution(size: tuple[int, int]) -> Resolution:
    """Return the resolution of a height and a width."""
    height, width = size
    return height if height == width else f"{width}x{height}"
