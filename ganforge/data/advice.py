"""Advice on training with a data set."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ganforge.config.resolution import write_resolution
from ganforge.data.check import DataReport
from ganforge.data.items import Size
from ganforge.layers.map_sizes import nearest_size

FEW = 5_000
"""Examples below which a discriminator overfits without augmentation (Karras 2020, arXiv:2006.06676, figure 1)."""

VERY_FEW = 200  # examples below which a generator mostly memorizes
SMALL = 64  # recommended maximum of the shorter edge in a first training, in pixels
ALIKE = 1.1  # largest ratio of two aspect ratios that cropping may make equal


@dataclass(frozen=True)
class Advice:
    """Sentences about the data, and a command line that trains on them."""

    words: tuple[str, ...]
    command: str


def advise(report: DataReport, skip_bad: bool = False, sources: str | None = None) -> Advice:
    """Return advice on usable data; `skip_bad` and unpaired `sources` as for training."""
    words: list[str] = []
    command = ["ganforge", "train", "--data", report.path]
    for name, value in report.options.items():
        command += ["--set", f"data.{name}={value}"]
    if sources:
        command += ["--set", f"data.sources={sources}"]
    if skip_bad and report.unreadable:
        command.append("--skip-bad")
    if len(report.shape) < 3:
        command += ["--arch", "cgan" if report.numbers else "mlp"]
        kind = "vectors" if len(report.shape) == 1 else "signals"
        words.append(f"{kind}: of the built-in networks only mlp takes them")
        if kind == "signals":
            words.append("the package ganforge-wavegan has networks for signals")
        return Advice(tuple(words), shlex.join(command))
    height, width = small = _small_size(report)
    if report.resolution is not None:
        command += ["--resolution", str(report.resolution)]
    elif small != report.shape[:2]:
        command += ["--resolution", str(write_resolution(small))]
        words.append(f"start at {width} x {height}: larger sizes take far longer, and networks do not take every size")
    if report.count < FEW and not (report.paired or sources):
        command += ["--augment", "ada"]
        words.append(f"{report.count} examples are few; --augment ada prevents overfitting of the discriminator")
    if report.count < VERY_FEW:
        words.append("so few examples are mostly memorized; --init-from a run on similar images helps")
    if len(report.classes) > 1:
        words.append("use classes for --arch projection, and --eval-every 50k --metrics fd for scores")
    if report.numbers:
        command += ["--arch", "cdcgan"]
        words.append("examples have condition vectors: after training, choose them by ganforge sample --condition")
    if report.duplicates:
        extra = sum(len(group) - 1 for group in report.duplicates)
        words.append(f"{extra} examples are duplicates and are shown more often: remove them")
    return Advice(tuple(words), shlex.join(command))


def _small_size(report: DataReport) -> Size:
    """Return height and width for a first training: of the aspect ratio that the images share, else square."""
    sizes = [tuple(map(int, size.split(" x "))) for size in report.sizes]
    ratios = [width / height for width, height in sizes]
    width, height = sizes[0] if max(ratios) <= ALIKE * min(ratios) else (min(report.shape[:2]),) * 2
    return shrink(height, width)


def shrink(height: int, width: int) -> Size:
    """Return a size of about the same aspect ratio that networks take, with a shorter edge of about `SMALL` or less."""
    scale = min(1, SMALL / min(width, height))
    return nearest_size(round(height * scale), round(width * scale))
