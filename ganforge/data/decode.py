"""Decoding of picture files to gray or RGB images with 8 bits per channel, or 16-bit gray."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import read_bytes
from ganforge.data.text import printable, reason_of, short

try:
    import pillow_heif
except ImportError:
    HEIF: tuple[str, ...] = ()
else:
    pillow_heif.register_heif_opener()
    HEIF = ("HEIF",)

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", *HEIF)
"""Supported formats, by Pillow's names. Others, e.g. EPS, would start a program or guess."""

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".heic", ".heif"),
)
"""File extensions of images; those of an absent package too, so that they raise an error instead of being ignored."""

FILTER = "lanczos"  # filter of every resize
MOST_BYTES = 1 << 28  # maximum size in bytes of a picture in a run directory
MOST_SCANS = 100  # maximum number of scans of a progressive JPEG; each is a pass over all pixels, and ten are usual

_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""JPEG marker with a segment; the excluded ones occur within a scan."""

_GRAY = ("1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def open_image(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header of a picture file at its start; pixels are decoded later.

    Raises `DataError` if the format is unsupported, or if the picture exceeds Pillow's limit for decompression bombs.
    """
    try:
        image = Image.open(stream, formats=FORMATS)
    except UnidentifiedImageError:
        found, hint = _guess_format(stream)
        raise DataError(f"{name}: {found}", hint) from None
    except Exception as error:  # a broken header may raise anything
        raise _unreadable(name, error) from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(f"{name}: {image.width} x {image.height} pixels exceed the limit of {limit}", _HINT)
    return image


def open_picture(content: bytes, name: str) -> Image.Image:
    """Read the header of a picture in memory like `open_image`; also reject JPEGs with too many scans."""
    if content.startswith(b"\xff\xd8") and _has_more_scans(content, MOST_SCANS):
        raise DataError(f"{name}: JPEG with more than {MOST_SCANS} scans", _HINT)
    return open_image(BytesIO(content), name)


def read_picture(path: Path) -> Image.Image:
    """Decode a picture of a run without following symbolic links; raise `DataError` if it cannot be read."""
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


def _has_more_scans(jpeg: bytes, limit: int) -> bool:
    place, scans = 2, 0
    while scans <= limit and (marker := _MARKER.search(jpeg, place)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        length = int.from_bytes(jpeg[marker.end() : marker.end() + 2], "big")
        place = marker.end() + max(2, length)
    return scans > limit


def picture_dtype(image: Image.Image) -> str:
    """Return the type of the normalized values from the header: ``uint16`` for 16-bit gray, else ``uint8``."""
    return "uint16" if image.mode.startswith("I;16") else "uint8"


def picture_shape(image: Image.Image) -> tuple[int, int, int]:
    """Return the normalized height, width and channels from the header; EXIF data behind the pixels are missed."""
    width, height = image.size
    if "exif" in image.info and _orientation(image) in (5, 6, 7, 8):  # rotated by 90 or 270 degrees
        width, height = height, width
    return height, width, 1 if image.mode in _GRAY else 3


def normalize(image: Image.Image, name: str, *, deep: bool = False) -> Image.Image:
    """Convert an image, or the first frame of an animation, to mode ``L`` if it is gray, else ``RGB``.

    With `deep`, 16-bit gray keeps its mode, such as ``I;16``.

    Applies the EXIF orientation, composites transparency on white, and scales to 8 bits without clipping. Raises
    `DataError` if the file is truncated or corrupt, or if the scale of its values is unknown.
    """
    try:
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        mode = "L" if image.mode in _GRAY else "RGB"
        if deep and picture_dtype(image) == "uint16":
            return image
        if image.mode == "F" or image.mode.startswith("I"):
            return _to_eight_bits(image, name)
        if image.has_transparency_data:
            return _composite_on_white(image, mode)
        return image if image.mode == mode else image.convert(mode)
    except DataError:
        raise
    except Exception as error:  # a broken file may raise anything
        raise _unreadable(name, error) from error


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Center-crop to the aspect ratio of `size`, (height, width) in pixels, and resize with antialiasing."""
    height, width = crop_size((image.height, image.width), size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    if (height, width) == size:
        return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))
    return image.crop((left, top, left + width, top + height)).resize(size[::-1], Image.Resampling.LANCZOS)


def fit_array(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Crop and resize an array ``[H, W, C]`` of any channels as `fit`; float32 values stay in [-1, 1]."""
    height, width = crop_size((array.shape[0], array.shape[1]), size)
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    array = array[top : top + height, left : left + width]
    if (height, width) == size:
        return array
    planes = [Image.fromarray(np.ascontiguousarray(plane, np.float32)) for plane in np.moveaxis(array, 2, 0)]
    resized = np.stack(
        [np.asarray(plane.resize(size[::-1], Image.Resampling.LANCZOS), np.float32) for plane in planes], axis=2
    )
    if array.dtype.kind == "f":
        return resized.clip(-1, 1)
    return resized.round().clip(0, np.iinfo(array.dtype).max).astype(array.dtype)


def crop_size(image: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of the largest rectangle within `image` that has the aspect ratio of `size`."""
    height, width = image
    if width * size[0] <= height * size[1]:
        return max(1, round(width * size[0] / size[1])), width
    return height, max(1, round(height * size[1] / size[0]))


@contextmanager
def strict_decoding() -> Iterator[None]:
    """Turn Pillow's decompression bomb warnings into errors, and ignore its other warnings, e.g. about EXIF data."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


_HINT = "repair or remove the file"


def _unreadable(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: cannot be decoded: {reason_of(error)}", _HINT)


def _guess_format(stream: IO[bytes]) -> tuple[str, str]:
    """Return what an unsupported file is, and what to do."""
    stream.seek(0)
    data = stream.read(512)
    if not data:
        return "the file is empty", _HINT
    if data.startswith(b"PK"):
        return "this is a zip file, not an image", _HINT
    if data.lstrip()[:1] == b"<":
        return "this is a web page or other text, not an image", _HINT
    if data[4:8] == b"ftyp" and not HEIF:
        return "HEIC and video files are unsupported", 'convert it to JPEG; or, for HEIC: pip install "ganforge[heic]"'
    return "unsupported image format", _HINT


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # corrupt EXIF data; the pixels are intact
        return 1


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    values = np.asarray(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8))
    least, limit = float(values.min()), float(values.max())
    if not (least >= 0 and limit <= 65535):
        raise DataError(
            f"{name}: values from {least:g} to {limit:g} have an unknown scale",
            "save it with 8 or 16 bits per channel",
        )
    # Integers have 16 bits. Floats use the smallest of three usual scales that contains all values.
    scale = 65535.0 if image.mode == "I" or limit > 255 else 255.0 if limit > 1 else 1.0
    return Image.fromarray((values * (255.0 / scale)).round().astype(np.uint8))


def _composite_on_white(image: Image.Image, mode: str) -> Image.Image:
    layer = image.convert("LA" if mode == "L" else "RGBA")
    ground = Image.new(mode, image.size, "white")
    ground.paste(layer.convert(mode), mask=layer.getchannel("A"))
    return ground
