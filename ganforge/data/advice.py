"""Advice on training with a data set."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from ganforge.data.check import DataReport

FEW = 5_000
"""Examples below which a discriminator overfits without augmentation (Karras 2020, arXiv:2006.06676, figure 1)."""

VERY_FEW = 200  # examples below which a generator mostly memorizes
SMALL = 64  # recommended maximum resolution of a first training, in pixels


@dataclass(frozen=True)
class Advice:
    """Sentences about the data, and a command line that trains on them."""

    words: tuple[str, ...]
    command: str


def advise(report: DataReport, skip_bad: bool = False) -> Advice:
    """Return advice on usable data; `skip_bad` as for training."""
    words: list[str] = []
    command = ["ganforge", "train", "--data", report.path]
    for name, value in report.options.items():
        command += ["--set", f"data.{name}={value}"]
    if skip_bad and report.unreadable:
        command.append("--skip-bad")
    if len(report.shape) < 3:
        command += ["--arch", "cgan" if report.numbers else "mlp"]
        words.append(f"{'vectors' if len(report.shape) == 1 else 'signals'}: other networks than mlp take images")
        return Advice(tuple(words), shlex.join(command))
    edge = min(report.shape[:2])
    small = min(SMALL, 1 << edge.bit_length() - 1)
    if (report.shape[0], report.shape[1]) != (small, small):
        command += ["--resolution", str(small)]
        words.append(f"start at {small} x {small}: larger sizes take far longer")
    if report.count < FEW:
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
