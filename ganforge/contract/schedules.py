"""Schedules: scalars as functions of images seen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """A constant, linear or cosine schedule.

    Attributes:
        start: Value at the first image.
        end: Value after the schedule ends.
        images: Duration in images; 0 for a constant.
        shape: ``linear``, or ``cosine`` for half a cosine, level at both ends.
    """

    start: float
    end: float
    images: int = 0
    shape: Literal["linear", "cosine"] = "linear"

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """Create a constant schedule."""
        return cls(float(value), float(value))

    def at(self, images: int) -> float:
        """Return the value after `images` images."""
        if images >= self.images:
            return self.end
        share = images / self.images
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + (self.end - self.start) * share

    def plain(self) -> float | str:
        """Format for configurations: a number, or ``cosine:START:END:IMAGES`` with all digits."""
        if self.images == 0:
            return self.end
        start, end = (repr(value).removesuffix(".0") for value in (self.start, self.end))
        return f"{self.shape}:{start}:{end}:{self.images}"
