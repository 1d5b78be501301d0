"""Image conversion: uint8 in [0, 255] and floats in [-1, 1], grids, PNG and GIF through Pillow, with XMP metadata."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor


def to_float(pixels: Tensor) -> Tensor:
    """Convert uint8 in [0, 255] or uint16 in [0, 65535] of any shape to float32 in [-1, 1]; floats are unchanged."""
    if pixels.is_floating_point():
        return pixels
    return pixels.float().div_(32767.5 if pixels.dtype == torch.uint16 else 127.5).sub_(1.0)


def to_uint8(images: Tensor) -> Tensor:
    """Convert floats in [-1, 1] of any shape to uint8 in [0, 255]: rounded to the nearest, clipped."""
    return images.float().mul(127.5).add_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def grid(pixels: Tensor, columns: int | None = None, gap: int = 2) -> Tensor:
    """Arrange uint8 images ``[N, C, H, W]`` in rows on black, in a square by default.

    Returns:
        Image, uint8 ``[C, rows * (H + gap) - gap, columns * (W + gap) - gap]``.
    """
    count, channels, height, width = pixels.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    canvas = torch.zeros(channels, rows * (height + gap) - gap, columns * (width + gap) - gap, dtype=torch.uint8)
    for index in range(count):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        canvas[:, top : top + height, left : left + width] = pixels[index]
    return canvas


def to_pil(pixels: Tensor) -> Image.Image:
    """Convert an image, uint8 ``[C, H, W]``; of 2 channels the first is used, of more than 4 three evenly spaced."""
    channels = len(pixels)
    if channels > 4:
        pixels = pixels[[0, channels // 2, channels - 1]]
    array = pixels.cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(array if array.shape[2] >= 3 else array[:, :, 0])


def png_bytes(pixels: Tensor, xmp: bytes = b"") -> bytes:
    """Encode an image, uint8 ``[C, H, W]``, as PNG, with an XMP packet unless it is empty."""
    return encode_png(to_pil(pixels), xmp)


def encode_png(picture: Image.Image, xmp: bytes = b"") -> bytes:
    """Encode a picture as PNG, with an XMP packet unless it is empty."""
    chunks = PngInfo()
    if xmp:
        chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", pnginfo=chunks)
    return buffer.getvalue()


def gif_bytes(frames: Sequence[Image.Image], seconds: float = 6.0, xmp: bytes = b"") -> bytes:
    """Encode an animation of about `seconds` as GIF; the last frame is shown for 1.5 s more."""
    each = max(40, int(1000 * seconds / len(frames)))
    durations = [each] * (len(frames) - 1) + [each + 1500]
    first, *rest = (frame.convert("RGB") for frame in frames)
    buffer = io.BytesIO()
    first.save(buffer, format="GIF", save_all=True, append_images=rest, duration=durations, loop=0)
    return add_gif_xmp(buffer.getvalue(), xmp)


def add_gif_xmp(gif: bytes, xmp: bytes) -> bytes:
    """Insert an XMP packet, unless it is empty, before the frames of a GIF: an application extension.

    Readers of other extensions leave the packet by its trailer of 258 bytes, where each byte leads to the last one.
    """
    if not xmp:
        return gif
    flags = gif[10]
    start = 13 + (3 << (flags % 8 + 1) if flags & 0x80 else 0)  # after the header and the global colors
    extension = b"\x21\xff\x0bXMP DataXMP" + xmp + b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
    return gif[:start] + extension + gif[start:]
