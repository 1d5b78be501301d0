"""Pairs with no download: the outlines of ganforge's cartoon faces, to be coloured in."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Any

import torch
from ganforge import Dataset, Paired
from torch import Tensor

_STEP = 40
"""Shades by which neighbours must differ, in any channel, for a line between them."""


class Outlines(Dataset):
    """Cartoon faces, each with its outlines: black lines on white, from which the face with its colours is to be made.

    Args:
        count: Number of pairs.
        resolution: Height and width in pixels, from 8 to 1024.

    Raises:
        OptionError: A value is out of its range.
    """

    def __init__(self, *, count: int = 10_000, resolution: int = 64) -> None:
        # The data set `avatars` by the door that all plugins use: an entry point, and a hook that gives parts by name.
        (avatars,) = entry_points(group="ganforge", name="avatars")
        self.faces: Any = avatars.load().ganforge_datasets()["avatars"](count=count, resolution=resolution)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> Paired:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Paired]:
        """Many pairs at once, each as from ``[index]``."""
        faces = [face for face, _ in self.faces.__getitems__(list(indices))]
        return [Paired(image=face, source=draw_outlines(face)) for face in faces]

    def cache_key(self) -> str:
        """That of the faces, and of how lines are drawn."""
        return f"outlines-{_STEP}-{self.faces.cache_key()}"


def draw_outlines(image: Tensor) -> Tensor:
    """Where colours change: an image, uint8 ``[H, W, C]``, to black lines on white, uint8 ``[H, W]``."""
    shades = image.short()
    lines = torch.zeros(image.shape[:2], dtype=torch.bool)
    lines[:, 1:] |= (shades[:, 1:] - shades[:, :-1]).abs().amax(2) > _STEP
    lines[1:] |= (shades[1:] - shades[:-1]).abs().amax(2) > _STEP
    return torch.where(lines, 0, 255).to(torch.uint8)
