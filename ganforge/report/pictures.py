"""Images embedded in the page, limited in size and number."""

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
from ganforge.report.reading import Grid, RunData

MAX_GRIDS = 48
"""Maximum grids per run."""

MAX_CHARACTERS = 3_300_000
"""Maximum size of all grids together, so that the page can be sent by mail."""

LARGEST = 1024
"""Maximum edge length of an image in pixels."""

LARGEST_GRID = 704
"""Maximum edge length of a grid in pixels: the width of the page."""

_MAX_XMP = 1 << 12
"""Maximum size of a kept XMP packet in bytes; those of ganforge have less than 1 KB."""


@dataclass(frozen=True)
class Frame:
    """An embedded image.

    Attributes:
        images: Real images seen before it was drawn.
        data: A ``data:`` URL.
    """

    images: int
    data: str


def spread(grids: Sequence[Grid], most: int) -> Sequence[Grid]:
    """Return at most `most` grids, evenly spaced, with the first and the last."""
    if len(grids) <= most:
        return grids
    share = (len(grids) - 1) / (most - 1)
    return [grids[round(number * share)] for number in range(most)]


def load_frames(runs: Sequence[Sequence[Grid]]) -> list[tuple[list[Frame], list[str]]]:
    """Return the embedded grids and the read errors of each run.

    Runs with equally many grids keep equally many, so that they can be compared at equal images.

    Args:
        runs: Grids of each run, oldest first.
    """
    loaded: dict[Path, Frame | str] = {}
    most = MAX_GRIDS
    while True:
        chosen = [spread(grids, most) for grids in runs]
        for each in itertools.chain(*chosen):
            if each.path not in loaded:
                loaded[each.path] = _load(each.path, each.images)
        found = [[loaded[each.path] for each in own] for own in chosen]
        size = sum(len(each.data) for own in found for each in own if isinstance(each, Frame))
        if size <= MAX_CHARACTERS or most == 2:
            break
        most = max(2, int(max(map(len, chosen)) * MAX_CHARACTERS / size))
    return [
        ([each for each in own if isinstance(each, Frame)], [each for each in own if isinstance(each, str)])
        for own in found
    ]


def draw_reals(runs: Sequence[RunData]) -> list[str]:
    """Return figures of real examples, one of each equal grid; read errors are appended to `RunData.problems`."""
    found: dict[str, list[str]] = {}
    for run in runs:
        loaded = _load(run.reals) if run.reals is not None else None
        if isinstance(loaded, Frame):
            found.setdefault(loaded.data, []).append(run.name)
        elif loaded is not None:
            run.problems.append(loaded)
    whose = {data: f" of {', '.join(names)}" * (len(found) > 1) for data, names in found.items()}
    return [figure(data, f"Real examples{names}", f"Real examples{names}") for data, names in whose.items()]


def _load(path: Path, images: int = 0) -> Frame | str:
    """Return an embedded grid, or an error message."""
    try:
        return Frame(images, embed(read_picture(path), LARGEST_GRID))
    except DataError as error:
        return error.message
    except (OSError, ValueError) as error:  # an unsupported color mode
        return f"{path} cannot be shown: {error}"


def embed(picture: Image.Image, largest: int = LARGEST) -> str:
    """Return an image as a ``data:`` URL: lossless WebP, or JPEG if that takes less than half.

    An XMP packet of the image, which marks it as generated, is kept.

    JPEG keeps full color resolution (4:4:4); lossy WebP halves it, which loses details of one pixel.

    Args:
        picture: Image of any mode.
        largest: Maximum edge length in pixels.
    """
    xmp = picture.info.get("xmp", b"")
    kept = {"xmp": xmp} if 0 < len(xmp) <= _MAX_XMP else {}
    picture = picture.convert("L" if picture.mode in ("L", "1") else "RGB")
    picture.thumbnail((largest, largest))
    exact = _compress(picture, format="webp", lossless=True, **kept)
    near = _compress(picture, format="jpeg", quality=85, subsampling="4:4:4", **kept)
    kind, content = ("jpeg", near) if 2 * len(near) < len(exact) else ("webp", exact)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _compress(picture: Image.Image, **how: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **how)
    return buffer.getvalue()


def embed_grid(images: Tensor, columns: int | None = None, xmp: bytes = b"") -> str:
    """Return images, uint8 ``[N, C, H, W]``, as one embedded grid of cells of at least 48 pixels, with XMP if given."""
    larger = max(1, -(-48 // images.shape[3]))
    scaled = images.repeat_interleave(larger, 2).repeat_interleave(larger, 3)
    picture = to_pil(grid(scaled.to(torch.uint8), columns))
    picture.info["xmp"] = xmp
    return embed(picture)


def figure(data: str, alt: str, caption: str) -> str:
    """Return an image with a caption."""
    return (
        f'<figure><img src="{data}" alt="{escape_html(alt)}"><figcaption>{escape_html(caption)}</figcaption></figure>'
    )
