"""Interface of aligners, which select the part of a photograph that a projection reproduces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


class Aligner(ABC):
    """Selects a part of a photograph, such as an upright face, before a projection.

    The constructor is ``__init__(self, *, options...)``.
    """

    @abstractmethod
    def align(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        """Return the part of a photograph that shows what the generator draws.

        Args:
            image: Photograph of mode ``L`` or ``RGB``, upright by its EXIF orientation.
            size: Height and width of the generator's images in pixels.

        Returns:
            Image of any size; it is center-cropped to the aspect ratio of `size` and resized.

        Raises:
            DataError: The photograph does not show it.
        """
