"""Image tables with headings, and looping animations."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.core.images import add_gif_xmp, to_pil

LEAST = 64  # minimum edge in pixels; smaller images are enlarged by an integer factor
GAP, HEADING = 2, 16  # pixels between images, and of a heading's line
MILLISECONDS = 50  # duration of a frame
PICTURES, ANIMATIONS = (".png",), (".gif", ".webp")  # file extensions


def draw_table(
    rows: Sequence[Sequence[Tensor | None]], *, columns: Sequence[str] = (), names: Sequence[str] = ()
) -> Image.Image:
    """Arrange images uint8 ``[C, H, W]`` of equal size in a table with headings on white; None is an empty cell."""
    tiles = [[None if pixels is None else enlarge(pixels) for pixels in row] for row in rows]
    width, height = next(tile.size for row in tiles for tile in row if tile is not None)
    font = ImageFont.load_default()
    left = max((int(font.getlength(name)) + 6 for name in names), default=0)
    top = HEADING if columns else 0
    widest = max(map(len, tiles))
    size = (left + widest * (width + GAP) - GAP, top + len(tiles) * (height + GAP) - GAP)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    for index, text in enumerate(columns):
        pen.text((left + index * (width + GAP) + 2, 2), text, fill="black", font=font)
    for index, text in enumerate(names):
        pen.text((2, top + index * (height + GAP) + height // 2 - 6), text, fill="black", font=font)
    for down, row in enumerate(tiles):
        for across, tile in enumerate(row):
            if tile is not None:
                canvas.paste(tile, (left + across * (width + GAP), top + down * (height + GAP)))
    return canvas


def enlarge(pixels: Tensor) -> Image.Image:
    """Convert an image uint8 ``[C, H, W]`` to RGB, enlarged to at least `LEAST` pixels without interpolation."""
    image = to_pil(pixels).convert("RGB")
    factor = -(-LEAST // min(image.size)) if min(image.size) < LEAST else 1
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def encode_animation(frames: Sequence[Image.Image], suffix: str, xmp: bytes = b"") -> bytes:
    """Encode pictures of equal size as a looping animation, ``.gif`` or ``.webp``, with an XMP packet unless empty."""
    first, *rest = frames
    buffer = io.BytesIO()
    options = {"lossless": True, "xmp": xmp} if suffix == ".webp" else {}
    kind = suffix.removeprefix(".").upper()
    first.save(buffer, kind, save_all=True, append_images=rest, duration=MILLISECONDS, loop=0, **options)
    return add_gif_xmp(buffer.getvalue(), xmp) if suffix == ".gif" else buffer.getvalue()


def check_suffix(path: str, suffix: str, allowed: Sequence[str]) -> None:
    """Raise `OptionError` unless a file's extension is allowed."""
    if suffix in (".mp4", ".webm", ".mov", ".avi"):
        raise OptionError(
            f"{path}: video formats are unsupported",
            "write a .gif and convert it: ffmpeg -i walk.gif -pix_fmt yuv420p walk.mp4",
        )
    if suffix not in allowed:
        raise OptionError(f"{path}: unsupported file extension", f"use {' or '.join(allowed)}")
