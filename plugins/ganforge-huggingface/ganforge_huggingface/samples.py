"""Sample grid of a model card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ganforge import Generator, generate
from PIL import Image

_ROWS, _COLUMNS = 4, 8
_LEAST = 512
"""Minimum width in pixels; smaller grids are enlarged by nearest neighbor."""


def draw_samples(generator: Generator, card: Mapping[str, Any]) -> Image.Image | None:
    """Return a sample grid of all classes or of conditions of the data; None for vectors and image-to-image generators.

    Args:
        generator: Generator in evaluation mode.
        card: Card of its checkpoint.
    """
    data = card["data"]
    if len(data["shape"]) != 3 or data.get("source_shape"):
        return None
    classes, count = len(data["class_names"]), _ROWS * _COLUMNS
    labels = torch.arange(count) % classes if classes else None
    if data.get("numbers"):
        rows = torch.tensor([each["examples"] or [each["mean"]] for each in data["numbers"]]).T
        labels = rows[torch.arange(count) % len(rows)]
    images = generate(generator, count, seed=0, labels=labels)
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte()
    channels, height, width = pixels.shape[1:]
    grid = pixels.view(_ROWS, _COLUMNS, channels, height, width).permute(0, 3, 1, 4, 2)
    array = grid.reshape(_ROWS * height, _COLUMNS * width, channels).squeeze(2).numpy()
    picture = Image.fromarray(array)
    factor = -(-_LEAST // picture.width)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
