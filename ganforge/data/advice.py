"""What images are good for, and the command to begin with."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ganforge.data.check import DataReport

FEW = 5_000
"""Examples below which a discriminator learns them by heart (Karras 2020, arXiv:2006.06676, figure 1, has ten times as
many)."""

VERY_FEW = 200
"""Examples below which a generator hardly finds more than copies."""

SMALL = 64
"""Pixels along an edge that a first training should have at most: an hour there tells more than a day at 256."""


@dataclass(frozen=True)
class Advice:
    """What to make of data that can be trained on.

    Attributes:
        words: Sentences.
        command: A command line that trains on them.
    """

    words: tuple[str, ...]
    command: str


def advise(report: DataReport, skip_bad: bool = False) -> Advice:
    """What to make of data.

    Args:
        report: Of data that are usable.
        skip_bad: Whether what cannot be read is left out.
    """
    words: list[str] = []
    command = ["ganforge", "train", "--data", report.path]
    for name, value in report.options.items():
        command += ["--set", f"data.{name}={value}"]
    if skip_bad and report.unreadable:
        command.append("--skip-bad")
    if len(report.shape) == 1:
        command += ["--arch", "mlp"]
        words.append("vectors: networks for images have no use for them; mlp has")
        return Advice(tuple(words), shlex.join(command))
    edge = min(report.shape[:2])
    small = min(SMALL, 1 << edge.bit_length() - 1)
    if (report.shape[0], report.shape[1]) != (small, small):
        command += ["--resolution", str(small)]
        words.append(f"begin at {small} x {small}: what works there works at larger sizes, which take far longer")
    if report.count < FEW:
        command += ["--augment", "ada"]
        words.append(f"{report.count} are few, so the discriminator is kept from learning them by heart: ada")
    if report.count < VERY_FEW:
        words.append("so few give little more than copies of themselves; --init-from a run on similar images helps")
    if len(report.classes) > 1:
        words.append("classes can be drawn one by one: --arch projection; and scored: --eval-every 50k --metrics fd")
    if report.duplicates:
        extra = sum(len(group) - 1 for group in report.duplicates)
        words.append(f"{extra} are copies of others, which are shown the more often for it: remove them")
    return Advice(tuple(words), shlex.join(command))
