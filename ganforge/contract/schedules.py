"""Numbers that change with the images seen: constant, linear, cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """A number as a function of the images seen.

    Attributes:
        start: The value at the first image.
        end: The value once the way is gone.
        images: Length of the way, in images; 0 for a constant.
        shape: A straight line, or half a cosine, which leaves and arrives level.
    """

    start: float
    end: float
    images: int = 0
    shape: Literal["linear", "cosine"] = "linear"

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """The same value all along."""
        return cls(float(value), float(value))

    def at(self, images: int) -> float:
        """The value after so many images."""
        if images >= self.images:
            return self.end
        share = images / self.images
        if self.shape == "cosine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.start + (self.end - self.start) * share

    def plain(self) -> float | str:
        """As a user writes it: a number, or ``cosine:START:END:IMAGES``; all digits, so that nothing is lost."""
        if self.images == 0:
            return self.end
        start, end = (repr(value).removesuffix(".0") for value in (self.start, self.end))
        return f"{self.shape}:{start}:{end}:{self.images}"
