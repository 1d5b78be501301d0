"""What a run shows of itself: a grid of images, or points in a plane, always from the same seeds."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ganforge.files import write_bytes
from ganforge.images import grid, png_bytes, to_uint8, write_gif
from ganforge.interfaces import DataSpec, Generator
from ganforge.sampling import cycle_labels, generate

POINTS = 2000
"""How many vectors are drawn."""

FRAMES = 60
"""Most pictures in an animation."""


def draw_samples(generator: Generator, data: DataSpec, reals: Tensor, count: int, seed: int) -> Tensor:
    """A picture of what a generator makes.

    Args:
        generator: The network.
        data: What it makes: images become a grid, vectors a plot.
        reals: Real examples, of which vectors are drawn behind the generated ones.
        count: Images in a grid.
        seed: The first image's seed.

    Returns:
        One picture, uint8 ``[C, H, W]``.
    """
    count = count if data.is_image else POINTS
    examples = generate(generator, count, seed=seed, labels=cycle_labels(count, data.num_classes))
    return grid(to_uint8(examples)) if data.is_image else plot_points(examples, reals[:POINTS])


def plot_points(fake: Tensor, real: Tensor, pixels: int = 256) -> Tensor:
    """Draw vectors ``[N, D]`` by their first two coordinates, or as histograms if D = 1; generated ones in orange.

    The frame is that of the real ones and does not move from picture to picture.

    Returns:
        One picture, uint8 ``[3, pixels, pixels]``.
    """
    low, high = real.amin(0), real.amax(0)
    margin = (high - low).clamp_min(1e-6) * 0.15
    canvas = torch.full((3, pixels, pixels), 255.0)
    for points, colour in ((real, (200.0, 205.0, 215.0)), (fake, (235.0, 110.0, 20.0))):
        unit = (points.cpu() - (low - margin)) / (high - low + 2 * margin)
        ink = _histogram(unit[:, 0], pixels) if unit.shape[1] == 1 else _scatter(unit[:, :2], pixels)
        canvas += ink * (torch.tensor(colour)[:, None, None] - canvas)
    return canvas.round().to(torch.uint8)


def _scatter(unit: Tensor, pixels: int) -> Tensor:
    """Ink in [0, 1], ``[pixels, pixels]``, of points in the unit square, each three pixels wide."""
    inside = ((unit >= 0) & (unit < 1)).all(1)
    columns, rows = (unit[inside] * pixels).long().unbind(1)
    ink = torch.zeros(pixels, pixels)
    ink[pixels - 1 - rows, columns] = 1.0
    return torch.nn.functional.max_pool2d(ink[None], 3, stride=1, padding=1)[0]


def _histogram(unit: Tensor, pixels: int, bins: int = 64) -> Tensor:
    """Ink in [0, 0.8], ``[pixels, pixels]``, of a histogram over the unit interval."""
    counts = torch.histc(unit.float(), bins, 0.0, 1.0) / max(len(unit), 1)
    heights = (counts * pixels * 8).clamp_max(pixels - 1).repeat_interleave(math.ceil(pixels / bins))[:pixels]
    return 0.8 * (torch.arange(pixels)[:, None] >= pixels - heights[None]).float()


def save_picture(path: Path, picture: Tensor) -> None:
    """Write a picture, uint8 ``[C, H, W]``, as PNG."""
    write_bytes(path, png_bytes(picture))


def write_animation(path: Path, pictures: list[Path], edge: int = 384) -> None:
    """Make a GIF of pictures on disk, at most 60 of them spread evenly and at most `edge` pixels wide."""
    chosen = [
        pictures[round(index)] for index in torch.linspace(0, len(pictures) - 1, min(FRAMES, len(pictures))).tolist()
    ]
    frames = []
    for each in chosen:
        with Image.open(each) as frame:
            frame.thumbnail((edge, edge))
            frames.append(frame.convert("RGB"))
    write_gif(path, frames)
