"""Target images of a projection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganforge.contract.errors import DataError
from ganforge.core.atomic_files import open_regular
from ganforge.data.decode import fit, normalize, open_image, strict_decoding
from ganforge.data.files import FolderImages

Align = Callable[[Image.Image, tuple[int, int]], Image.Image]
"""``Aligner.align``, from an image and (height, width)."""


def list_images(paths: Sequence[Path]) -> list[Path]:
    """Return image files: those given, and those of given folders as of a data set, without runs; raise `DataError`."""
    found: list[Path] = []
    for path in paths:
        found += [path / name for name in FolderImages(path).names] if path.is_dir() else [path]
    return found


def read_target(path: Path, shape: tuple[int, ...], align: Align | None = None) -> Tensor:
    """Read an image file, align it, center-crop it to the aspect ratio of ``(C, H, W)`` and resize it.

    Returns:
        uint8 ``[C, H, W]``.
    """
    channels, height, width = shape
    try:
        with open_regular(path) as stream, strict_decoding():
            image = normalize(open_image(stream, str(path)), str(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    if align is not None:
        image = align(image, (height, width))
    if image.size != (width, height):
        image = fit(image, (height, width))
    if channels not in (1, 3):
        raise DataError(f"{path}: this generator makes images of {channels} channels", "use --index 0 of the data")
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return torch.from_numpy(array.copy()).view(height, width, channels).permute(2, 0, 1).contiguous()
