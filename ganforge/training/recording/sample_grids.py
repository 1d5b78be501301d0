"""What a run shows of itself, from the same seeds all along: a grid of images, or points on a landscape of logits."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import DataError, GanforgeError
from ganforge.contract.networks import Discriminator, Generator
from ganforge.core.atomic_files import write_bytes
from ganforge.core.images import gif_bytes, grid, png_bytes, to_uint8
from ganforge.data.decode import read_picture
from ganforge.sampling import cycle_labels, evaluation_mode, generate

POINTS = 2000
"""How many vectors are drawn."""

PIXELS = 384
"""Edge of their picture."""

CELLS = 64
"""Places along an axis where the discriminator is asked."""

BATCH = 256
"""Most places that it judges at once."""

BANDS = 10
"""Shades on each side of undecided: so few that they read as contours, and that files stay small."""

FRAMES = 60
"""Most pictures in an animation."""

WHITE, BLACK, ORANGE = (250.0, 250.0, 250.0), (30.0, 30.0, 35.0), (235.0, 110.0, 20.0)
BLUE, ROSE = (95.0, 150.0, 215.0), (235.0, 125.0, 140.0)


def generate_samples(generator: Generator, data: DataSpec, count: int, seed: int) -> Tensor:
    """What a picture shows: examples ``[N, ...]``, of all classes in turn.

    Args:
        generator: The network.
        data: What it makes.
        count: Images in a grid; of vectors there are always `POINTS`.
        seed: The first example's seed.
    """
    count = count if data.is_image else POINTS
    return generate(generator, count, seed=seed, labels=cycle_labels(count, data.num_classes))


def paint_samples(
    examples: Tensor, data: DataSpec, reals: Tensor, discriminator: Discriminator | None = None
) -> Tensor:
    """A picture of generated examples.

    Args:
        examples: As from `generate_samples`: images become a grid, vectors a plot.
        data: What they are.
        reals: Real examples, of which vectors are drawn behind the generated ones.
        discriminator: Whose judgement colours the plot's background, if vectors have one or two numbers.

    Returns:
        One picture, uint8 ``[C, H, W]``.
    """
    if data.is_image:
        return grid(to_uint8(examples))
    real = reals[:POINTS]
    judgement = None
    if discriminator is not None and real.shape[1] <= 2:
        judgement = judge_plane(discriminator, data, examples, real)
    return plot_points(examples, real, judgement)


def plot_points(fake: Tensor, real: Tensor, judgement: Tensor | None = None) -> Tensor:
    """Draw vectors ``[N, D]`` by their first two coordinates, or as histograms if D = 1; generated ones in orange.

    The frame is that of the real ones, in black, and does not move from picture to picture.

    Args:
        fake: Generated vectors.
        real: Real ones.
        judgement: For the background, from `judge_plane`: 1, real, is rose; 0 is white; -1, generated, is blue.

    Returns:
        One picture, uint8 ``[3, PIXELS, PIXELS]``.
    """
    canvas = _paint(torch.zeros(PIXELS, PIXELS) if judgement is None else judgement)
    low, high = _frame(real)
    for points, colour, width in ((real, BLACK, 5), (fake, ORANGE, 3)):
        unit = (points.cpu() - low) / (high - low)
        ink = _histogram(unit[:, 0]) if unit.shape[1] == 1 else _scatter(unit[:, :2], width)
        canvas += ink * (_rgb(colour) - canvas)
    return canvas.round().to(torch.uint8)


def judge_plane(discriminator: Discriminator, data: DataSpec, fake: Tensor, real: Tensor) -> Tensor | None:
    """The discriminator's judgement all over the frame of a plot.

    Logits mean different things to different losses. So they are measured from halfway between the medians of real and
    of generated examples, in units of their mean distance from there.

    Args:
        discriminator: It is asked in evaluation mode and without gradients, and its mode is put back afterwards.
        data: Shape and classes of the examples.
        fake: Generated vectors ``[N, D]``, with D of 1 or 2.
        real: Real ones.

    Returns:
        In (-1, 1), ``[PIXELS, PIXELS]``, positive where it says real; None if it judges no single examples, but packs.
    """
    low, high = _frame(real)
    middles = (torch.arange(CELLS) + 0.5) / CELLS
    # Rows run down while the second coordinate runs up.
    axes = torch.meshgrid(*[middles.flip(0), middles][-real.shape[1] :], indexing="ij")
    plane = low + (high - low) * torch.stack(axes[::-1], dim=-1).flatten(0, -2)
    try:
        with evaluation_mode(discriminator):
            logits, of_real, of_fake = (_judge(discriminator, each, data.num_classes) for each in (plane, real, fake))
    except (GanforgeError, RuntimeError, ValueError):
        return None  # It judges packs: they have one logit each, and not every batch is a whole number of them.
    relative = logits - (of_real.quantile(0.5) + of_fake.quantile(0.5)) / 2
    judgement = torch.tanh(relative / relative.abs().mean().clamp_min(1e-12)).nan_to_num()
    cells = judgement.view(1, 1, -1, CELLS)
    return interpolate(cells, (PIXELS, PIXELS), mode="bilinear", align_corners=False)[0, 0]


@torch.no_grad()
def _judge(discriminator: Discriminator, points: Tensor, num_classes: int) -> Tensor:
    """Logits ``[N]`` of vectors ``[N, D]``, on the CPU; of a conditional discriminator, for the likeliest class."""
    points = points.to(next(discriminator.parameters()).device)
    best = torch.full((len(points),), -math.inf)
    for label in range(max(num_classes, 1)):
        labels = torch.full((len(points),), label, device=points.device) if num_classes else None
        logits = torch.empty(len(points))
        # Batches that are alike, each from all over the place, since a discriminator may look at a batch's variety.
        number = math.ceil(len(points) / BATCH)
        for start in range(number):
            batch = slice(start, None, number)
            logits[batch] = discriminator(points[batch], None if labels is None else labels[batch]).cpu()
        if torch.equal(logits, best):  # it does not look at classes
            break
        best = torch.maximum(best, logits)
    return best


def _frame(real: Tensor) -> tuple[Tensor, Tensor]:
    """Lowest and highest coordinates ``[D]`` of a plot of real vectors ``[N, D]``."""
    low, high = real.amin(0), real.amax(0)
    margin = (high - low).clamp_min(1e-6) * 0.15
    return low - margin, high + margin


def _rgb(colour: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colour)[:, None, None]


def _paint(judgement: Tensor) -> Tensor:
    """Colours ``[3, H, W]`` of a judgement ``[H, W]`` in [-1, 1], in bands."""
    depth = (judgement.abs() * BANDS).round() / BANDS
    hue = torch.where(judgement > 0, _rgb(ROSE), _rgb(BLUE))
    return torch.lerp(_rgb(WHITE).expand_as(hue), hue, depth)


def _scatter(unit: Tensor, width: int) -> Tensor:
    """Ink in [0, 1], ``[PIXELS, PIXELS]``, of points in the unit square, each `width` pixels wide; an odd number."""
    inside = ((unit >= 0) & (unit < 1)).all(1)
    columns, rows = (unit[inside] * PIXELS).long().unbind(1)
    ink = torch.zeros(PIXELS, PIXELS)
    ink[PIXELS - 1 - rows, columns] = 1.0
    return max_pool2d(ink[None], width, stride=1, padding=width // 2)[0]


def _histogram(unit: Tensor, bins: int = 64) -> Tensor:
    """Ink in [0, 0.8], ``[PIXELS, PIXELS]``, of a histogram over the unit interval."""
    counts = torch.histc(unit.float(), bins, 0.0, 1.0) / max(len(unit), 1)
    heights = (counts * PIXELS * 8).clamp_max(PIXELS - 1).repeat_interleave(PIXELS // bins)
    return 0.8 * (torch.arange(PIXELS)[:, None] >= PIXELS - heights[None]).float()


def save_picture(path: Path, picture: Tensor) -> None:
    """Write a picture, uint8 ``[C, H, W]``, as PNG."""
    write_bytes(path, png_bytes(picture))


def write_animation(path: Path, pictures: list[Path], edge: int = 384) -> list[str]:
    """Make a GIF of pictures on disk, at most 60 of them spread evenly and at most `edge` pixels wide.

    Returns:
        Which pictures are left out since they cannot be read, and why.

    Raises:
        GanforgeError: The file cannot be written.
    """
    chosen = [
        pictures[round(index)] for index in torch.linspace(0, len(pictures) - 1, min(FRAMES, len(pictures))).tolist()
    ]
    frames, problems = [], []
    for each in chosen:
        try:
            frame = read_picture(each)
        except DataError as error:
            problems.append(f"{path.name} is made without a picture: {error.message}")
            continue
        frame.thumbnail((edge, edge))
        frames.append(frame.convert("RGB"))
    if frames:
        write_bytes(path, gif_bytes(frames))
    return problems
