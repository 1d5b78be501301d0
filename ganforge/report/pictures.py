"""Pictures within the page: as data, no larger than they are shown, and no more of them than a file can bear."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ganforge.images import grid, to_pil
from ganforge.report.reading import Grid

MOST_GRIDS = 48
"""Grids that can be slid through; of more, some from all over the training are taken."""

MOST_BYTES = 9_000_000
"""Of all grids of a run together."""

LARGEST = 1024
"""Pixels along an edge of a picture."""


@dataclass(frozen=True)
class Frame:
    """A picture in the page.

    Attributes:
        images: Real examples shown before it was drawn.
        data: A ``data:`` address.
    """

    images: int
    data: str


def choose_grids(grids: Sequence[Grid]) -> Sequence[Grid]:
    """At most `MOST_GRIDS` of them, the first and the last among them, close together where training was quick."""
    if len(grids) <= MOST_GRIDS:
        return grids
    share = (len(grids) - 1) / (MOST_GRIDS - 1)
    return [grids[round(number * share)] for number in range(MOST_GRIDS)]


def load_frames(grids: Sequence[Grid]) -> tuple[list[Frame], list[str]]:
    """Grids as pictures in the page, and what could not be read, in sentences."""
    frames: list[Frame] = []
    problems: list[str] = []
    chosen = choose_grids(grids)
    for each in chosen:
        try:
            with Image.open(each.path) as picture:
                frames.append(Frame(each.images, embed(picture, MOST_BYTES // len(chosen))))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            problems.append(f"{each.path} cannot be read: {error}")
    return frames, problems


def embed(picture: Image.Image, most: int = MOST_BYTES) -> str:
    """A picture as a ``data:`` address: PNG if it is small enough, else JPEG.

    Args:
        picture: Shrunk to `LARGEST`.
        most: Bytes of the PNG.
    """
    picture = picture.convert("L" if picture.mode in ("L", "1") else "RGB")
    picture.thumbnail((LARGEST, LARGEST))
    for kind, options in (("png", {"optimize": True}), ("jpeg", {"quality": 85})):
        buffer = io.BytesIO()
        picture.save(buffer, format=kind, **options)
        if buffer.tell() <= most:
            break
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def embed_grid(images: Tensor, columns: int | None = None) -> str:
    """Images, uint8 ``[N, C, H, W]``, as one picture in which each has 48 pixels at least."""
    larger = max(1, -(-48 // images.shape[3]))
    scaled = images.repeat_interleave(larger, 2).repeat_interleave(larger, 3)
    return embed(to_pil(grid(scaled.to(torch.uint8), columns)))


def figure(data: str, alt: str, caption: str) -> str:
    """A picture with a caption."""
    return (
        f'<figure><img src="{data}" alt="{html.escape(alt, quote=True)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
