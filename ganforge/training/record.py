"""What a run writes down: metrics and pictures at each tick, checkpoints that it can go on from bit for bit.

What needs the networks is done at once: pictures are drawn, tensors are copied. All else is left to a `Writer`, in
order: a checkpoint is in its place only after all rows and pictures before it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.checkpoint import copy_tensors, digest_tensors, read_card, read_tensors, save_generator
from ganforge.config import TrainingConfig
from ganforge.data.difference import describe_difference
from ganforge.data.store import PackedData
from ganforge.errors import CheckpointError, DivergenceError
from ganforge.files import append_line, remove, write_bytes
from ganforge.images import to_float
from ganforge.interfaces import Generator
from ganforge.runs import RunFolder
from ganforge.team import ALONE, Team
from ganforge.training.checkpoints import share_checkpoint, write_checkpoint
from ganforge.training.pictures import POINTS, generate_samples, paint_samples, save_picture, write_animation
from ganforge.training.state import TrainingState
from ganforge.training.statistics import Statistics
from ganforge.training.watching import Watch, measure_diversity
from ganforge.training.writer import Writer

MOST_ROLLBACKS = 3
"""So often a run goes back before it is given up."""

REALS = 256
"""Real images with whose diversity that of samples is compared."""

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
        training: The seed of the first image in a grid, how many there are, how often, and which checkpoints are kept.
        team: The processes that train together; one of them writes.

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
        training: TrainingConfig,
        team: Team = ALONE,
    ) -> None:
        self.writer = Writer()
        self.statistics = Statistics()
        self.last: Score | None = None
        self.best: Score | None = None
        self._folder = folder
        self._state = state
        self._data = data
        self._card = card
        self._training = training
        self._team = team
        self._watch = Watch()
        self._reals = _choose_reals(data)
        self._ticked = 0
        self._seconds_ticked = 0.0
        self._copied: Future[None] | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for a tick."""
        return self._state.images >= self._ticked + (self._training.tick_images or max(1000, self._ticked // 20))

    @property
    def pending(self) -> bool:
        """Whether anything happened since the last tick."""
        return self._state.images > self._ticked

    def draw(self) -> dict[str, Any]:
        """Draw the averaged generator's samples, before the discriminator if in a plane.

        Returns:
            For a row of metrics: how diverse they are, and the path of the picture; nothing where nothing is written.
        """
        if not self._team.leads:
            return {}
        state, spec, path = self._state, self._data.spec, self._folder.sample_path(self._state.images)
        examples = generate_samples(state.average, spec, self._training.samples, self._training.seed)
        self.writer.submit(save_picture, path, paint_samples(examples, spec, self._reals, state.discriminator))
        found: dict[str, Any] = {"picture": str(path)}
        if min(len(examples), len(self._reals)) > 1:
            reals = to_float(self._reals) if spec.is_image else self._reals
            found = {"diversity": round(measure_diversity(examples, reals), 4), **found}
        return found

    def tick(self) -> dict[str, Any]:
        """Write a row of metrics and a picture; all processes of a team see whether they still have the same networks.

        Returns:
            The row: images, seconds, images a second since the last tick, the mean of each statistic, how diverse
            samples are, and if there is anything to be warned of, that.

        Raises:
            TeamError: Processes have come apart.
            GanforgeError: A file cannot be written.
        """
        state = self._state
        if self._team.size > 1:
            networks = {name: each for name, each in state.tensors().items() if "optimizer/" not in name}
            self._team.check_equal(digest_tensors(networks), "networks")
        elapsed = max(state.seconds - self._seconds_ticked, 1e-9)
        row = {
            "images": state.images,
            "seconds": round(state.seconds, 3),
            "images_per_second": round((state.images - self._ticked) / elapsed, 1),
            **self.statistics.read(),
            **self.draw(),
        }
        if warnings := self._watch.look(row):
            row["warnings"] = warnings
        self._write(row)
        self._ticked, self._seconds_ticked = state.images, state.seconds
        return row

    def score(self, scorer: Scorer) -> tuple[dict[str, Any], Score]:
        """Score the averaged generator, write a row of its own for that, and keep the generator if it is the best.

        Returns:
            The row, with images, seconds of training and all values by name of their metric; and the best score so far.

        Raises:
            DivergenceError: A value is not finite.
            GanforgeError: A file cannot be written.
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
            if self._team.leads:
                card = {**self._card, "images": state.images, "score": {"metric": metric, "value": value}}
                weights = self._copy(state.average.state_dict())
                self._copied = self.writer.submit(save_generator, self._folder.best_generator, weights, card)
        return row, self.best

    def save(self) -> None:
        """Write the generator and a checkpoint as they are now, and drop checkpoints that are too old.

        Raises:
            GanforgeError: A file cannot be written.
        """
        if not self._team.leads:
            return
        state = self._state
        statistics = {f"statistics/{name}": pair for name, pair in self.statistics.tensors().items()}
        tensors = self._copy(state.tensors() | statistics)
        card = {
            "kind": "checkpoint",
            "images": state.images,
            "seconds": state.seconds,
            "streak": int(state.streak),
            "rollbacks": state.rollbacks,
            "ticked": self._ticked,
            "seconds_ticked": self._seconds_ticked,
            "score": None if self.last is None else asdict(self.last),
            "fingerprint": self._data.fingerprint,
            "generator": self._card,
        }
        best = None if self.best is None else self.best.images
        self._copied = self.writer.submit(write_checkpoint, self._folder, tensors, card, self._training, best)

    def resume(self, device: torch.device) -> str:
        """Take up the newest checkpoint that is whole.

        Returns:
            What was taken up, in words.

        Raises:
            CheckpointError: There is none, or it belongs to other data or other networks.
        """
        said: list[str] = []
        found = None
        if self._team.leads:
            self.writer.finish()
            found = self._newest(said)
            if found is None and said:
                raise CheckpointError(f"{self._folder.path} cannot be resumed: {'; '.join(said)}", "start a new run")
        tensors, card = share_checkpoint(self._team, found)
        if card:
            self._take_up(tensors, card, device)
            where = f"{self._folder.checkpoint_path(card['images'])} at {card['images']} images"
        else:  # it was killed before the first checkpoint; the start follows from the seed
            where = "the start"
        if self._team.leads:
            for row in self._forget_rows_after(self._state.images):
                if "images_per_second" in row:  # a tick's, not a score's
                    self._watch.look(row)
            said += self._find_best(self._state.images)
        return "; ".join([*said, f"going on from {where}"])

    def roll_back(self, device: torch.device) -> str:
        """Go back to a good checkpoint, an earlier one each time, with other random numbers and lower learning rates.

        Returns:
            What was done, in words.

        Raises:
            DivergenceError: It was done `MOST_ROLLBACKS` times, or must not be done; or there is no good checkpoint.
        """
        state, rollbacks = self._state, self._state.rollbacks
        given_up = self.give_up()
        if self._training.on_divergence == "stop" or rollbacks >= MOST_ROLLBACKS:
            raise given_up
        found = None
        if self._team.leads:
            self.writer.finish()
            good = [path for path, card in self._whole_cards() if not card.get("streak")]
            if not good:
                raise given_up
            path = good[min(rollbacks, len(good) - 1)]
            found = read_tensors(path)
            for later in self._folder.checkpoint_paths():
                if later.name > path.name:
                    remove(later)
        tensors, card = share_checkpoint(self._team, found)
        self._take_up(tensors, card, device)
        if self._team.leads:
            self._forget_rows_after(state.images)
        state.rollbacks = rollbacks + 1
        state.streak.zero_()
        self.save()
        return (
            f"{given_up.message}; going back to the checkpoint of {card['images']} images with learning rates halved "
            f"{'once' if rollbacks == 0 else f'{rollbacks + 1} times'} and other random numbers"
        )

    def give_up(self) -> DivergenceError:
        """What there is to be said of a run whose steps have to be skipped, one after the other."""
        state = self._state
        often = f" (after going back {state.rollbacks} times)" * bool(state.rollbacks)
        return DivergenceError(
            f"training diverged: gradients were not finite for {int(state.streak)} steps on end, "
            f"after {state.images} images{often}",
            f"the last good state is {self._newest_checkpoint()}; try a lower learning rate, --reg r1, "
            "or --precision float32",
        )

    def _newest(self, said: list[str]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole, checked against the data; `said` gets why others are passed over."""
        for path in reversed(self._folder.checkpoint_paths()):
            try:
                tensors, card = read_tensors(path)
            except CheckpointError as error:
                said.append(error.message)
                continue
            if card["fingerprint"] != self._data.fingerprint:
                raise CheckpointError(
                    "the data changed since the run began: "
                    + describe_difference(card["generator"]["data"], self._data),
                    "put the old data back, or start a new run, with --init-from if it is to begin with these weights",
                )
            return tensors, card
        return None

    def _whole_cards(self) -> list[tuple[Path, dict[str, Any]]]:
        """The checkpoints whose cards can be read, with these, newest first."""
        found = []
        for path in reversed(self._folder.checkpoint_paths()):
            with suppress(CheckpointError):
                found.append((path, read_card(path)))
        return found

    def _take_up(self, tensors: Mapping[str, Tensor], card: Mapping[str, Any], device: torch.device) -> None:
        """Bring everything to where a checkpoint stands."""
        pairs = {name: tensor for name, tensor in tensors.items() if name.startswith("statistics/")}
        state = self._state
        state.load({name: tensor for name, tensor in tensors.items() if name not in pairs})
        self.statistics.load({name.removeprefix("statistics/"): pair for name, pair in pairs.items()}, device)
        state.images, state.seconds = card["images"], card["seconds"]
        state.streak.fill_(card.get("streak", 0))
        state.rollbacks = card.get("rollbacks", 0)
        self._ticked, self._seconds_ticked = card["ticked"], card["seconds_ticked"]
        self.last = Score(**card["score"]) if card.get("score") else None
        self._watch = Watch()

    def animate(self) -> None:
        """Make the animation of all pictures so far."""
        if self._team.leads:
            self.writer.finish()
            write_animation(self._folder.animation, sorted(self._folder.samples.glob("*.png")))

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._team.leads:
            self.writer.submit(append_line, self._folder.metrics, json.dumps(row))

    def _copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What tensors hold now; the copy before has been written by then, so there is one at a time."""
        if self._copied is not None:
            self._copied.result()
        return copy_tensors(tensors)

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergenceError(
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

    def _forget_rows_after(self, images: int) -> list[dict[str, Any]]:
        """Keep the rows of metrics up to so many images, which are given back."""
        if not self._folder.metrics.exists():
            return []
        lines = self._folder.metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        try:
            rows = [(line, json.loads(line)) for line in lines if line.endswith("\n")]
            kept = [(line, row) for line, row in rows if row["images"] <= images]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise CheckpointError(f"{self._folder.metrics}: a row is damaged: {error}", "remove that row") from error
        write_bytes(self._folder.metrics, "".join(line for line, _ in kept).encode())
        return [row for _, row in kept]


def _choose_reals(data: PackedData) -> Tensor:
    """Some real examples as they are packed, from all over the data."""
    count = min(len(data), REALS if data.spec.is_image else POINTS)
    return data.examples[torch.linspace(0, len(data) - 1, count).long()]
