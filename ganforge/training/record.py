"""What a run writes down: metrics and pictures at each tick, checkpoints that it can go on from bit for bit.

What needs the networks is done at once: pictures are drawn, tensors are copied. All else is left to a `Writer`, in
order: a checkpoint is in its place only after all rows and pictures before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ganforge.checkpoint import copy_tensors, read_card, read_tensors, save_generator, save_tensors
from ganforge.data.store import PackedData
from ganforge.errors import CheckpointError, GanforgeError
from ganforge.files import append_line, remove, write_bytes
from ganforge.interfaces import Generator
from ganforge.runs import RunFolder
from ganforge.training.pictures import draw_samples, save_picture, write_animation
from ganforge.training.state import TrainingState
from ganforge.training.statistics import Statistics
from ganforge.training.writer import Writer

KEPT_CHECKPOINTS = 2
"""The newest one, and one to fall back on."""

Scorer = Callable[[Generator], Mapping[str, float]]
"""Says how good a generator is: values by name of the metric, lower is better; the first says which is the best."""


@dataclass(frozen=True)
class Score:
    """How good the averaged generator was, by the metric that says which is the best.

    Attributes:
        metric: Its name.
        value: Lower is better.
        images: Real examples shown before.
    """

    metric: str
    value: float
    images: int


class Record:
    """The run folder as seen from the loop.

    Args:
        folder: Where everything is written.
        state: What is trained.
        data: What it is trained on.
        card: What a saved generator says of itself.
        seed: Of the first image in a grid.
        samples: Images in a grid.
        tick_images: Images between two ticks; None for 1000, and later a twentieth of all so far.

    Attributes:
        writer: Writes what is handed over; until it has finished, files may be missing.
        statistics: What happened since the last tick.
        last: The newest score, or None.
        best: The lowest score, that of the generator which is kept as the best, or None.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: TrainingState,
        data: PackedData,
        card: Mapping[str, Any],
        *,
        seed: int,
        samples: int,
        tick_images: int | None,
    ) -> None:
        self.writer = Writer()
        self.statistics = Statistics()
        self.last: Score | None = None
        self.best: Score | None = None
        self._folder = folder
        self._state = state
        self._data = data
        self._card = card
        self._seed = seed
        self._samples = samples
        self._tick_images = tick_images
        self._ticked = 0
        self._seconds_ticked = 0.0
        self._copied: Future[None] | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for a tick."""
        return self._state.images >= self._ticked + (self._tick_images or max(1000, self._ticked // 20))

    @property
    def pending(self) -> bool:
        """Whether anything happened since the last tick."""
        return self._state.images > self._ticked

    def draw(self) -> str:
        """Draw the averaged generator's samples, before the discriminator if in a plane; return the picture's path."""
        path = self._folder.sample_path(self._state.images)
        reals = self._data.examples[: 1 if self._data.spec.is_image else 2000]
        state, spec = self._state, self._data.spec
        picture = draw_samples(state.average, spec, reals, self._samples, self._seed, state.discriminator)
        self.writer.submit(save_picture, path, picture)
        return str(path)

    def tick(self) -> dict[str, Any]:
        """Write a row of metrics and a picture.

        Returns:
            The row: images, seconds, images a second since the last tick, and the mean of each statistic.

        Raises:
            GanforgeError: A mean is not finite, or a file cannot be written.
        """
        means = self.statistics.read()
        state = self._state
        elapsed = max(state.seconds - self._seconds_ticked, 1e-9)
        row = {
            "images": state.images,
            "seconds": round(state.seconds, 3),
            "images_per_second": round((state.images - self._ticked) / elapsed, 1),
            **means,
            "picture": self.draw(),
        }
        self._check_finite(means)
        self._write(row)
        self._ticked, self._seconds_ticked = state.images, state.seconds
        return row

    def score(self, scorer: Scorer) -> tuple[dict[str, Any], Score]:
        """Score the averaged generator, write a row of its own for that, and keep the generator if it is the best.

        Returns:
            The row, with images, seconds of training and all values by name of their metric; and the best score so far.

        Raises:
            GanforgeError: A value is not finite, or a file cannot be written.
        """
        state = self._state
        values = scorer(state.average)
        self._check_finite(values)
        row = {"images": state.images, "seconds": round(state.seconds, 3), **values}
        self._write(row)
        metric, value = next(iter(values.items()))
        self.last = Score(metric, value, state.images)
        if self.best is None or value < self.best.value:
            self.best = self.last
            card = {**self._card, "images": state.images, "score": {"metric": metric, "value": value}}
            weights = self._copy(state.average.state_dict())
            self._copied = self.writer.submit(save_generator, self._folder.best_generator, weights, card)
        return row, self.best

    def save(self) -> None:
        """Write the generator and a checkpoint as they are now, and drop checkpoints that are too old.

        Raises:
            GanforgeError: A file cannot be written.
        """
        state = self._state
        statistics = {f"statistics/{name}": pair for name, pair in self.statistics.tensors().items()}
        tensors = self._copy(state.tensors() | statistics)
        card = {
            "kind": "checkpoint",
            "images": state.images,
            "seconds": state.seconds,
            "ticked": self._ticked,
            "seconds_ticked": self._seconds_ticked,
            "score": None if self.last is None else asdict(self.last),
            "fingerprint": self._data.fingerprint,
            "generator": self._card,
        }
        self._copied = self.writer.submit(write_checkpoint, self._folder, tensors, card)

    def resume(self, device: torch.device) -> str:
        """Take up the newest checkpoint that is whole.

        Returns:
            What was taken up, in words.

        Raises:
            CheckpointError: There is none, or it belongs to other data or other networks.
        """
        self.writer.finish()
        passed_over = []
        for path in reversed(self._folder.checkpoint_paths()):
            try:
                tensors, card = read_tensors(path)
            except CheckpointError as error:
                passed_over.append(error.message)
                continue
            if card["fingerprint"] != self._data.fingerprint:
                raise CheckpointError(
                    f"the data changed since the run began: their fingerprint is {self._data.fingerprint[:12]}, "
                    f"the run's {card['fingerprint'][:12]}",
                    "put the old data back, or start a new run",
                )
            pairs = {name: tensor for name, tensor in tensors.items() if name.startswith("statistics/")}
            self._state.load({name: tensor for name, tensor in tensors.items() if name not in pairs})
            self.statistics.load({name.removeprefix("statistics/"): pair for name, pair in pairs.items()}, device)
            self._state.images, self._state.seconds = card["images"], card["seconds"]
            self._ticked, self._seconds_ticked = card["ticked"], card["seconds_ticked"]
            self.last = Score(**card["score"]) if card.get("score") else None
            self._forget_rows_after(card["images"])
            passed_over += self._find_best(card["images"])
            return "; ".join([*passed_over, f"going on from {path} at {card['images']} images"])
        reason = "; ".join(passed_over) or "it holds no checkpoint"
        raise CheckpointError(f"{self._folder.path} cannot be resumed: {reason}", "start a new run")

    def animate(self) -> str:
        """Make the animation of all pictures so far and return its path."""
        self.writer.finish()
        write_animation(self._folder.animation, sorted(self._folder.samples.glob("*.png")))
        return str(self._folder.animation)

    def _write(self, row: Mapping[str, Any]) -> None:
        self.writer.submit(append_line, self._folder.metrics, json.dumps(row))

    def _copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What tensors hold now; the copy before has been written by then, so there is one at a time."""
        if self._copied is not None:
            self._copied.result()
        return copy_tensors(tensors)

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise GanforgeError(
                    f"training diverged: {name} is {value} after {self._state.images} images",
                    f"go on from {self._newest_checkpoint()} with a lower learning rate, or try --reg r1",
                )

    def _find_best(self, images: int) -> list[str]:
        """Take up the best generator so far; one from beyond `images` is removed, since the run will come by it again.

        Returns:
            Why it is passed over, if it is damaged.
        """
        path = self._folder.best_generator
        if not path.exists():
            return []
        try:
            card = read_card(path)
        except CheckpointError as error:
            return [error.message]
        if card["images"] > images:
            remove(path)
        else:
            self.best = Score(**card["score"], images=card["images"])
        return []

    def _newest_checkpoint(self) -> str:
        self.writer.finish()
        paths = self._folder.checkpoint_paths()
        return str(paths[-1]) if paths else "the start"

    def _forget_rows_after(self, images: int) -> None:
        if not self._folder.metrics.exists():
            return
        rows = self._folder.metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [row for row in rows if row.endswith("\n") and json.loads(row)["images"] <= images]
        write_bytes(self._folder.metrics, "".join(kept).encode())


def write_checkpoint(folder: RunFolder, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write the averaged generator and the checkpoint that holds it, and drop checkpoints that are too old.

    Args:
        folder: The run's.
        tensors: Everything, by name.
        card: The checkpoint's; with ``images``, and under ``generator`` what a saved generator says of itself.

    Raises:
        GanforgeError: A file cannot be written.
    """
    average = {name.removeprefix("average/"): each for name, each in tensors.items() if name.startswith("average/")}
    save_generator(folder.generator, average, {**card["generator"], "images": card["images"]})
    save_tensors(folder.checkpoint_path(card["images"]), tensors, card)
    for old in folder.checkpoint_paths()[:-KEPT_CHECKPOINTS]:
        remove(old)
