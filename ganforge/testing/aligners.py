"""Check of aligners."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from ganforge.contract.aligner import Aligner
from ganforge.testing.requirements import require, require_options


def check_aligner(
    factory: Callable[..., Aligner], image: Image.Image | None = None, size: tuple[int, int] = (32, 32), **options: Any
) -> Image.Image:
    """Check an aligner: type, repeatability, and a photograph that stays as it is; return the aligned image.

    `image` is a photograph that the aligner accepts, by default noise of 60 x 40 pixels.
    """
    require_options(factory, options)
    aligner = factory(**options)
    if image is None:
        pixels = torch.randint(256, (40, 60, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        image = Image.fromarray(pixels.numpy())
    before = image.tobytes()
    found, again = (aligner.align(image, size) for _ in range(2))
    require(isinstance(found, Image.Image), f"align returned {type(found).__name__}; return an image of Pillow")
    require(found.mode in ("L", "RGB"), f"align returned an image of mode {found.mode}; it must be L or RGB")
    require(min(found.size) > 0, "align returned an empty image")
    require(image.tobytes() == before, "align changed its input: work on a copy")
    require((found.size, found.tobytes()) == (again.size, again.tobytes()), "the same photograph gave other images")
    return found
