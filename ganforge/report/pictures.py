"""Pictures within the page: as data, no larger than they are shown, and no more of them than a file can bear."""

from __future__ import annotations

import base64
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ganforge.contract.errors import DataError
from ganforge.core.images import grid, to_pil
from ganforge.core.text import escape_html
from ganforge.data.decode import read_picture
from ganforge.report.reading import Grid

MOST_GRIDS = 48
"""Grids of a run that can be slid through."""

MOST_CHARACTERS = 3_300_000
"""Of the grids of all runs together, so that a page can go by mail."""

LARGEST = 1024
"""Pixels along an edge of a picture."""

LARGEST_GRID = 704
"""The same of a grid: the page shows none wider."""


@dataclass(frozen=True)
class Frame:
    """A picture in the page.

    Attributes:
        images: Real examples shown before it was drawn.
        data: A ``data:`` address.
    """

    images: int
    data: str


def spread(grids: Sequence[Grid], most: int) -> Sequence[Grid]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(grids) <= most:
        return grids
    share = (len(grids) - 1) / (most - 1)
    return [grids[round(number * share)] for number in range(most)]


def load_frames(runs: Sequence[Sequence[Grid]]) -> list[tuple[list[Frame], list[str]]]:
    """Grids as pictures in the page, and what could not be read, in sentences, of each run.

    Of equally many grids equally many are taken, so that runs can be compared at equal moments.

    Args:
        runs: The grids of each, oldest first.
    """
    loaded: dict[Path, Frame | str] = {}
    most = MOST_GRIDS
    while True:
        chosen = [spread(grids, most) for grids in runs]
        for each in itertools.chain(*chosen):
            if each.path not in loaded:
                loaded[each.path] = _load(each)
        found = [[loaded[each.path] for each in own] for own in chosen]
        size = sum(len(each.data) for own in found for each in own if isinstance(each, Frame))
        if size <= MOST_CHARACTERS or most == 2:
            break
        most = max(2, int(max(map(len, chosen)) * MOST_CHARACTERS / size))
    return [
        ([each for each in own if isinstance(each, Frame)], [each for each in own if isinstance(each, str)])
        for own in found
    ]


def _load(each: Grid) -> Frame | str:
    """A grid, or why there is none."""
    try:
        return Frame(each.images, embed(read_picture(each.path), LARGEST_GRID))
    except DataError as error:
        return error.message
    except (OSError, ValueError) as error:  # of a mode that cannot be converted
        return f"{each.path} cannot be shown: {error}"


def embed(picture: Image.Image, largest: int = LARGEST) -> str:
    """A picture as a ``data:`` address: as it is, or nearly so where that takes less than half.

    It is WebP without loss, or else JPEG with all colours. WebP with a loss would be smaller, but keeps colours at half
    the resolution only, which takes the blue out of eyes that are a pixel wide.

    Args:
        picture: Of any mode.
        largest: Pixels along an edge, to which it is shrunk.
    """
    picture = picture.convert("L" if picture.mode in ("L", "1") else "RGB")
    picture.thumbnail((largest, largest))
    exact = _compress(picture, format="webp", lossless=True)
    near = _compress(picture, format="jpeg", quality=85, subsampling="4:4:4")
    kind, content = ("jpeg", near) if 2 * len(near) < len(exact) else ("webp", exact)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _compress(picture: Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **how)
    return buffer.getvalue()


def embed_grid(images: Tensor, columns: int | None = None) -> str:
    """Images, uint8 ``[N, C, H, W]``, as one picture in which each has 48 pixels at least."""
    larger = max(1, -(-48 // images.shape[3]))
    scaled = images.repeat_interleave(larger, 2).repeat_interleave(larger, 3)
    return embed(to_pil(grid(scaled.to(torch.uint8), columns)))


def figure(data: str, alt: str, caption: str) -> str:
    """A picture with a caption."""
    return (
        f'<figure><img src="{data}" alt="{escape_html(alt)}"><figcaption>{escape_html(caption)}</figcaption></figure>'
    )
