"""Warnings about training budgets that are too small."""

from __future__ import annotations

import math
from collections.abc import Callable

from ganforge.config.schema import TrainingConfig
from ganforge.training.loop import Observer

FEW = 300  # optimization steps; a smaller budget triggers a warning
ENOUGH = 1000  # approximate number of steps after which samples of a small network show recognizable shapes
SETTLED = 20.0  # seconds of training after which the speed estimate is reliable


def suggest_budget(training: TrainingConfig, images: int, seconds: float) -> str:
    """Return a flag that extends a spent budget, given images and seconds so far."""
    if training.minutes is not None:
        return f"--minutes {math.ceil(training.minutes) + round(seconds / 60)}"
    return f"--images {2 * images}"


class BudgetObserver(Observer):
    """Warns when a budget yields fewer than `FEW` steps, unless the run starts from the weights of another run.

    A budget in images is checked immediately, a budget in minutes after `SETTLED` seconds, and both at the end.
    """

    def __init__(self, training: TrainingConfig, images: int, seconds: float, note: Callable[[str], None]) -> None:
        self._training, self._note = training, note
        self._start = self._now = (images, seconds)
        self._per_step = training.batch * training.batches
        self._pending = training.init_from is None
        if self._pending and training.images is not None and self._is_few(training.images):
            self._warn(
                f"{training.images} images are {self._count(training.images)}", self._more(training.images, None)
            )

    def step(self, images: int, seconds: float) -> None:
        self._now = (images, seconds)
        minutes, elapsed = self._training.minutes, seconds - self._start[1]
        if not self._pending or minutes is None or elapsed < SETTLED:
            return
        self._pending = False
        expected = images + int((images - self._start[0]) / elapsed * max(60 * minutes - seconds, 0))
        if self._is_few(expected):
            self._warn(f"about {self._count(expected)} in {minutes:g} minutes", self._more(expected, minutes))

    def finish(self) -> None:
        """Warn if the run ended after few steps."""
        images, seconds = self._now
        if images == self._start[0] or self._training.init_from is not None or not self._is_few(images):
            return
        by_images = self._training.images is not None and images >= self._training.images
        self._warn(f"only {self._count(images)}", f"--resume {self._more(images, None if by_images else seconds / 60)}")

    def _is_few(self, images: int) -> bool:
        return images < FEW * self._per_step

    def _count(self, images: int) -> str:
        steps = math.ceil(images / self._per_step)
        return f"{steps} step{'s' * (steps != 1)} of {self._per_step} images"

    def _more(self, images: int, minutes: float | None) -> str:
        """Return the budget of `ENOUGH` steps, in images, or in minutes at the speed of `images` in `minutes`."""
        enough = ENOUGH * self._per_step
        return f"--images {enough}" if minutes is None else f"--minutes {math.ceil(minutes * enough / images)}"

    def _warn(self, found: str, more: str) -> None:
        self._pending = False
        self._note(f"warning: {found}; recognizable results need about {ENOUGH:,} steps: {more}")
