"""From a picture file, whatever it holds, to one grey or RGB image of 8 bits a channel."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import read_bytes
from ganforge.data.text import printable, reason_of, short

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""What is read, by Pillow's names. Others, such as EPS, would start a program or guess."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".heic", ".heif"),
)
"""A file so named, in any case, is meant to be an image. HEIC cannot be read, but is not passed over in silence."""

FILTER = "lanczos"
"""The filter of every resize, for the record."""

MOST_BYTES = 1 << 28
"""Bytes of the largest picture in a run that is read."""

MOST_SCANS = 100
"""Scans of a progressive JPEG, of which each is a pass over all pixels and may take few bytes; ten are usual."""

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker of a JPEG with a segment behind it; what is left out stands within a scan."""

_GREY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def open_image(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header of a picture file; the pixels wait until they are asked for.

    Args:
        stream: The file, from its beginning.
        name: What to call it in an error.

    Raises:
        DataError: It is no picture that can be read, or so large that it may be an attack.
    """
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"{name}: {_what_else(stream)}", _HINT) from None
    except Exception as error:  # a broken header may raise anything
        raise _unreadable(name, error) from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(f"{name}: {image.width} x {image.height} pixels are more than {limit}", _HINT)
    return image


def open_picture(content: bytes, name: str) -> Image.Image:
    """Read the header of a picture file that is in memory as a whole; as `open_image`, and more of it is looked at.

    Raises:
        DataError: It is no picture that can be read, or so costly to decode that it may be an attack.
    """
    if content.startswith(b"\xff\xd8") and _has_more_scans(content, MOST_SCANS):
        raise DataError(f"{name}: a JPEG of more than {MOST_SCANS} scans", _HINT)
    return open_image(BytesIO(content), name)


def read_picture(path: Path) -> Image.Image:
    """Decode a picture of a run, of any mode; a symbolic link is not followed.

    Raises:
        DataError: It is not a regular file, or not a picture that can be read; see `open_picture`.
    """
    where = short(printable(str(path)))
    try:
        content = read_bytes(path, MOST_BYTES, follow=False)
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror or error}", _HINT) from error
    image = open_picture(content, where)
    try:
        image.load()
    except Exception as error:  # a broken file may raise anything
        raise _unreadable(where, error) from error
    return image


def _has_more_scans(jpeg: bytes, most: int) -> bool:
    place, scans = 2, 0
    while scans <= most and (marker := _MARKER.search(jpeg, place)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
        place = marker.end() + max(2, length)
    return scans > most


def picture_shape(image: Image.Image) -> tuple[int, int, int]:
    """Height, width and channels that `normalise` will give, as far as the header tells.

    Only an orientation that is noted behind the pixels is missed; to look for it would mean to decode them.
    """
    width, height = image.size
    if "exif" in image.info and _orientation(image) in (5, 6, 7, 8):  # those that turn by a right angle
        width, height = height, width
    return height, width, 1 if image.mode in _GREY else 3


def normalise(image: Image.Image, name: str) -> Image.Image:
    """Bring an image of any mode to ``L`` (if it is grey) or ``RGB``.

    It is turned as its EXIF data say, put on white where it is transparent, and scaled to 8 bits, not clipped.

    Args:
        image: Of an animation the first frame is taken.
        name: What to call it in an error.

    Raises:
        DataError: The file is cut off or broken, or its values have no known scale.
    """
    try:
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        mode = "L" if image.mode in _GREY else "RGB"
        if image.mode == "F" or image.mode.startswith("I"):
            return _to_eight_bits(image, name)
        if image.has_transparency_data:
            return _on_white(image, mode)
        return image if image.mode == mode else image.convert(mode)
    except DataError:
        raise
    except Exception as error:  # a broken file may raise anything
        raise _unreadable(name, error) from error


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Crop the largest rectangle of the aspect ratio of `size` out of the center and resize it, with antialiasing.

    Args:
        image: Of any size.
        size: Height and width in pixels.
    """
    height, width = crop_size((image.height, image.width), size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    if (height, width) == size:
        return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))
    return image.crop((left, top, left + width, top + height)).resize(size[::-1], Image.Resampling.LANCZOS)


def crop_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of the largest rectangle within `image` that has the aspect ratio of `size`."""
    height, width = image
    if width * size[0] <= height * size[1]:
        return max(1, round(width * size[0] / size[1])), width
    return height, max(1, round(height * size[1] / size[0]))


@contextmanager
def strict_decoding() -> Iterator[None]:
    """While it lasts, Pillow refuses a decompression bomb that it would otherwise only warn of.

    What else it warns of, such as an EXIF block that is cut off, does not concern the pixels and is not printed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


_HINT = "mend or remove the file"


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: cannot be decoded: {reason_of(error)}", _HINT)


def _what_else(stream: IO[bytes]) -> str:
    stream.seek(0)
    data = stream.read(512)
    if not data:
        return "the file is empty"
    if data.startswith(b"PK"):
        return "this is a zip, not an image"
    if data.lstrip()[:1] == b"<":
        return "this is a web page or other text, not an image"
    if data[4:8] == b"ftyp":
        return "this is HEIC or a video, which cannot be read; convert it to JPEG or PNG"
    return "this is no image in a format that can be read"


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # a broken EXIF block says nothing about orientation; the pixels are sound
        return 1


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 65535):
        raise DataError(
            f"{name}: values run from {least:g} to {most:g}, a scale that is not known",
            "save it with 8 or 16 bits a channel",
        )
    # Integers are of 16 bits. Floats may be on any of the three usual scales; the smallest that holds them is meant.
    scale = 65535.0 if image.mode == "I" or most > 255 else 255.0 if most > 1 else 1.0
    return Image.fromarray((values * (255.0 / scale)).round().astype(np.uint8))


def _on_white(image: Image.Image, mode: str) -> Image.Image:
    layer = image.convert("LA" if mode == "L" else "RGBA")
    ground = Image.new(mode, image.size, "white")
    ground.paste(layer.convert(mode), mask=layer.getchannel("A"))
    return ground
