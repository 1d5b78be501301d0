"""Data set of cartoon faces and their outlines, drawn without a download."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import torch
from ganforge import Dataset, Paired
from torch import Tensor

_STEP = 40
"""Threshold of the difference between neighboring pixels, in levels of any channel."""


class Outlines(Dataset):
    """Cartoon faces and their outlines, black on white; the outlines are the source.

    Args:
        count: Number of pairs.
        resolution: Height and width in pixels, from 8 to 1024.

    Raises:
        OptionError: A value is out of range.
    """

    def __init__(self, *, count: int = 10_000, resolution: int = 64) -> None:
        # Plugins import only public names, so `avatars` is loaded by its entry point.
        (avatars,) = entry_points(group="ganforge", name="avatars")
        self.faces: Any = avatars.load().ganforge_datasets()["avatars"](count=count, resolution=resolution)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Paired:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Paired]:
        faces = [face for face, _ in self.faces.__getitems__(list(indices))]
        return [Paired(image=face, source=draw_outlines(face)) for face in faces]

    def cache_key(self) -> str:
        return f"outlines-{_STEP}-{self.faces.cache_key()}"


def draw_outlines(image: Tensor) -> Tensor:
    """Draw the edges of an image, uint8 ``[H, W, C]``, as black lines on white, uint8 ``[H, W]``."""
    levels = image.short()
    lines = torch.zeros(image.shape[:2], dtype=torch.bool)
    lines[:, 1:] |= (levels[:, 1:] - levels[:, :-1]).abs().amax(2) > _STEP
    lines[1:] |= (levels[1:] - levels[:-1]).abs().amax(2) > _STEP
    return torch.where(lines, 0, 255).to(torch.uint8)
