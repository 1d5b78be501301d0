"""Estimate and verdict for a training budget: how many steps it yields, and what samples show at its end."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ganforge.config.schema import TrainingConfig
from ganforge.training.loop import Observer
from ganforge.training.recording.verdict import COPIED, describe_memorization, describe_samples, find_stage

FEW = 300  # optimization steps; a smaller budget triggers a warning
ENOUGH = 1000  # approximate number of steps after which samples of a small network show recognizable shapes
LEAST_BATCH = 8  # smallest batch that is suggested
SETTLED = 20.0  # seconds of training after which the speed estimate is reliable


def suggest_budget(training: TrainingConfig, images: int, seconds: float) -> str:
    """Return a flag that extends a spent budget, given images and seconds so far: at least to `ENOUGH` steps."""
    enough = ENOUGH * training.batch * training.batches
    if training.minutes is None or (training.images is not None and images >= training.images):
        return f"--images {max(2 * images, enough)}"
    minutes = math.ceil(training.minutes) + round(seconds / 60)
    return f"--minutes {max(minutes, math.ceil(seconds / 60 * enough / max(images, 1)))}"


class BudgetObserver(Observer):
    """Warns when a budget yields fewer than `FEW` steps, estimates when samples become recognizable, and judges them.

    A budget in images is checked immediately. The estimate follows after `SETTLED` seconds, the verdict at the end.
    Runs that start from the weights of another run only get the verdict, and runs on other data no estimate.
    """

    def __init__(
        self, training: TrainingConfig, images: int, seconds: float, note: Callable[[str], None], visual: bool = True
    ) -> None:
        self._training, self._note, self._visual = training, note, visual
        self._start = self._now = (images, seconds)
        self._per_step = training.batch * training.batches
        self._enough = ENOUGH * self._per_step
        self._pending = training.init_from is None and images < self._enough
        self._row: dict[str, Any] = {}
        if self._pending and training.images is not None and self._is_few(training.images):
            self._pending = False
            more = f"--images {self._enough}{self._suggest_batch(training.images)}"
            self._warn(f"{training.images} images are {self._count(training.images)}", more)

    def step(self, images: int, seconds: float) -> None:
        self._now = (images, seconds)
        elapsed = seconds - self._start[1]
        if not self._pending or elapsed < SETTLED:
            return
        self._pending = False
        rate, minutes = (images - self._start[0]) / elapsed, self._training.minutes
        needed = math.ceil((seconds + (self._enough - images) / rate) / 60)
        expected = images + int(rate * max(60 * minutes - seconds, 0)) if minutes is not None else self._enough
        if self._is_few(expected):
            more = f"--minutes {needed}{self._suggest_batch(expected)}"
            self._warn(f"about {self._count(expected)} in {minutes:g} minutes", more)
        elif self._visual and find_stage(self._row) in ("", "noise"):
            length = f"{needed} minute{'s' * (needed != 1)}"
            self._note(f"at {rate:.3g} images/s, samples are recognizable after about {length}")

    def tick(self, row: dict[str, Any]) -> None:
        self._row = row

    def finish(self) -> None:
        """Judge the samples, and warn if they are noise or the run ended after few steps."""
        images, seconds = self._now
        if images == self._start[0]:
            return
        more = suggest_budget(self._training, images, seconds)
        seen = describe_samples(self._row)
        if self._is_few(images) and self._training.init_from is None:
            self._warn(f"only {self._count(images)}" + f", and samples show {seen}" * bool(seen), f"--resume {more}")
        elif find_stage(self._row) == "noise":
            self._note(
                f"warning: samples still show noise after {self._count(images)}: --resume {more}, or train again "
                "with a smaller --resolution or another --arch"
            )
        elif seen:
            self._note(f"samples show {seen}")
        if self._row.get("memorization", 0) > COPIED:
            more = "more images, or --init-from a run on similar images, help"
            self._note(f"warning: {describe_memorization(self._row)}; {more}")
        elif copied := describe_memorization(self._row):
            self._note(copied)

    def _is_few(self, images: int) -> bool:
        return images < FEW * self._per_step

    def _count(self, images: int) -> str:
        steps = math.ceil(images / self._per_step)
        return f"{steps:,} step{'s' * (steps != 1)} of {self._per_step} images"

    def _suggest_batch(self, images: int) -> str:
        """Return a batch size with which these images are `ENOUGH` steps, as an alternative; empty if too small."""
        batch = images // (ENOUGH * self._training.batches)
        batch = 1 << max(batch.bit_length() - 1, 0)
        return f" or --batch {batch}" if batch >= LEAST_BATCH else ""

    def _warn(self, found: str, more: str) -> None:
        self._note(f"warning: {found}; recognizable results need about {ENOUGH:,} steps: {more}")
