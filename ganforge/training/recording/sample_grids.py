"""Sample grids of fixed seeds: a grid of images or waveforms, or a plot of points on the discriminator's logits."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError, GanforgeError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.core.images import gif_bytes, grid, to_uint8
from ganforge.data.decode import read_picture
from ganforge.sampling import default_labels, evaluation_mode, generate

POINTS = 2000  # number of plotted vectors
PIXELS = 384  # edge of a plot in pixels
CELLS = 64  # cells per axis in which the discriminator is evaluated
BATCH = 256  # largest batch of such cells
BANDS = 10  # shades on each side of neutral; few shades look like contours and keep files small
FRAMES = 60  # maximum number of frames in an animation

WAVE_HEIGHT, WAVE_WIDTH = 48, 160  # pixels of a waveform
MAX_WAVES = 4  # maximum number of plotted channels of a signal

WHITE, BLACK, ORANGE = (250.0, 250.0, 250.0), (30.0, 30.0, 35.0), (235.0, 110.0, 20.0)
BLUE, ROSE = (95.0, 150.0, 215.0), (235.0, 125.0, 140.0)


def generate_samples(generator: Generator, data: DataSpec, count: int, seed: int) -> Tensor:
    """Generate `count` images or signals, or `POINTS` vectors, of all default labels in turn; ``[N, ...]``."""
    count = POINTS if len(data.shape) == 1 else count
    return generate(generator, count, seed=seed, labels=default_labels(count, data))


def paint_samples(
    examples: Tensor, data: DataSpec, reals: Tensor, discriminator: Discriminator | None = None
) -> Tensor:
    """Draw a grid of images or waveforms, or a plot of vectors before real ones; returns uint8 ``[C, H, W]``.

    The discriminator colors the background of 1D and 2D plots.
    """
    if data.is_image:
        return grid(to_uint8(examples))
    if len(data.shape) == 2:
        return grid(plot_waveforms(examples))
    real = reals[:POINTS]
    background = None
    if discriminator is not None and real.shape[1] <= 2:
        background = map_logits(discriminator, data, examples, real)
    return plot_points(examples, real, background)


def plot_waveforms(signals: Tensor, height: int = WAVE_HEIGHT, width: int = WAVE_WIDTH) -> Tensor:
    """Plot signals ``[N, C, T]`` in [-1, 1], a row per channel of at most `MAX_WAVES`; uint8 ``[N, 3, C * height, W]``.

    A column shows the range of its samples, as audio editors do, so that no peak is lost.
    """
    waves = signals.cpu().float().nan_to_num().clamp(-1, 1)
    if waves.shape[1] > MAX_WAVES:
        waves = waves[:, torch.linspace(0, waves.shape[1] - 1, MAX_WAVES).round().long()]
    length = waves.shape[2]
    # Neighboring columns share a sample, so that the curve is connected.
    edges = [min(round(column * length / width), length - 1) for column in range(width + 1)]
    columns = [waves[:, :, first : last + 1] for first, last in pairwise(edges)]
    rows = (1 - torch.arange(height) / (height - 1) * 2)[:, None]
    half = 1.0 / (height - 1)
    high = torch.stack([column.amax(2) for column in columns], dim=2)[:, :, None] + half
    low = torch.stack([column.amin(2) for column in columns], dim=2)[:, :, None] - half
    ink = ((rows <= high) & (rows >= low)).flatten(1, 2)[:, None].float()
    return torch.lerp(_rgb(WHITE), _rgb(ORANGE), ink).round().to(torch.uint8)


def plot_points(fake: Tensor, real: Tensor, background: Tensor | None = None) -> Tensor:
    """Plot the first two coordinates of vectors ``[N, D]``, or histograms if D = 1; uint8 ``[3, PIXELS, PIXELS]``.

    Generated vectors are orange, real ones black; these set the axes. The background, from `map_logits`, is rose for
    1, real; white for 0; and blue for -1, generated.
    """
    canvas = _paint(torch.zeros(PIXELS, PIXELS) if background is None else background)
    low, high = _frame(real)
    for points, color, width in ((real, BLACK, 5), (fake, ORANGE, 3)):
        unit = (points.cpu() - low) / (high - low)
        ink = _histogram(unit[:, 0]) if unit.shape[1] == 1 else _scatter(unit[:, :2], width)
        canvas += ink * (_rgb(color) - canvas)
    return canvas.round().to(torch.uint8)


def map_logits(discriminator: Discriminator, data: DataSpec, fake: Tensor, real: Tensor) -> Tensor | None:
    """Evaluate the discriminator over the area of a plot; ``[PIXELS, PIXELS]`` in (-1, 1), positive for real.

    The scale of logits depends on the loss. They are centered between the medians of real and generated examples, and
    divided by their mean distance from there. Returns None if the discriminator takes packs of examples.
    """
    low, high = _frame(real)
    middles = (torch.arange(CELLS) + 0.5) / CELLS
    # Rows run down, the second coordinate runs up.
    axes = torch.meshgrid(*[middles.flip(0), middles][-real.shape[1] :], indexing="ij")
    plane = low + (high - low) * torch.stack(axes[::-1], dim=-1).flatten(0, -2)
    try:
        with evaluation_mode(discriminator):
            logits, of_real, of_fake = (
                _logits_at(discriminator, each, data.num_classes) for each in (plane, real, fake)
            )
    except (GanforgeError, RuntimeError, ValueError):
        return None  # a packing discriminator has one logit per pack, and does not take every batch size
    relative = logits - (of_real.quantile(0.5) + of_fake.quantile(0.5)) / 2
    background = torch.tanh(relative / relative.abs().mean().clamp_min(1e-12)).nan_to_num()
    cells = background.view(1, 1, -1, CELLS)
    return interpolate(cells, (PIXELS, PIXELS), mode="bilinear", align_corners=False)[0, 0]


@torch.no_grad()
def _logits_at(discriminator: Discriminator, points: Tensor, num_classes: int) -> Tensor:
    """Return logits ``[N]`` of vectors ``[N, D]`` on the CPU; the largest over classes if conditional."""
    points = points.to(next(discriminator.parameters()).device)
    best = torch.full((len(points),), -math.inf)
    for label in range(max(num_classes, 1)):
        labels = torch.full((len(points),), label, device=points.device) if num_classes else None
        logits = torch.empty(len(points))
        # Each batch covers the whole area, since the discriminator may use batch statistics.
        number = math.ceil(len(points) / BATCH)
        for start in range(number):
            batch = slice(start, None, number)
            logits[batch] = discriminator(points[batch], None if labels is None else labels[batch]).cpu()
        if torch.equal(logits, best):  # unconditional
            break
        best = torch.maximum(best, logits)
    return best


def _frame(real: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest and highest coordinates ``[D]`` of a plot."""
    low, high = real.amin(0), real.amax(0)
    margin = (high - low).clamp_min(1e-6) * 0.15
    return low - margin, high + margin


def _rgb(color: tuple[float, float, float]) -> Tensor:
    return torch.tensor(color)[:, None, None]


def _paint(background: Tensor) -> Tensor:
    """Return colors ``[3, H, W]`` for values ``[H, W]`` in [-1, 1], in `BANDS` shades."""
    depth = (background.abs() * BANDS).round() / BANDS
    hue = torch.where(background > 0, _rgb(ROSE), _rgb(BLUE))
    return torch.lerp(_rgb(WHITE).expand_as(hue), hue, depth)


def _scatter(unit: Tensor, width: int) -> Tensor:
    """Return ink in [0, 1], ``[PIXELS, PIXELS]``, of points in the unit square; `width` in pixels is odd."""
    inside = ((unit >= 0) & (unit < 1)).all(1)
    columns, rows = (unit[inside] * PIXELS).long().unbind(1)
    ink = torch.zeros(PIXELS, PIXELS)
    ink[PIXELS - 1 - rows, columns] = 1.0
    return max_pool2d(ink[None], width, stride=1, padding=width // 2)[0]


def _histogram(unit: Tensor, bins: int = 64) -> Tensor:
    """Return ink in [0, 0.8], ``[PIXELS, PIXELS]``, of a histogram over the unit interval."""
    counts = torch.histc(unit.float(), bins, 0.0, 1.0) / max(len(unit), 1)
    heights = (counts * PIXELS * 8).clamp_max(PIXELS - 1).repeat_interleave(PIXELS // bins)
    return 0.8 * (torch.arange(PIXELS)[:, None] >= PIXELS - heights[None]).float()


def write_animation(path: Path, pictures: list[Path], edge: int = 384) -> list[str]:
    """Write a GIF of at most `FRAMES` evenly spaced pictures, at most `edge` pixels wide; return errors as text.

    It has the XMP packet of the last picture.
    """
    chosen = [
        pictures[round(index)] for index in torch.linspace(0, len(pictures) - 1, min(FRAMES, len(pictures))).tolist()
    ]
    frames, problems, xmp = [], [], b""
    for each in chosen:
        try:
            frame = read_picture(each)
        except DataError as error:
            problems.append(f"{path.name} lacks a frame: {error.message}")
            continue
        xmp = frame.info.get("xmp", b"")
        frame.thumbnail((edge, edge))
        frames.append(frame.convert("RGB"))
    if frames:
        write_bytes(path, gif_bytes(frames, xmp=xmp))
    return problems
