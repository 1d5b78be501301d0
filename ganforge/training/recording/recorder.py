"""What a run writes down: metrics and pictures at each tick, checkpoints that it can go on from bit for bit.

What needs the networks is done at once: pictures are drawn, tensors are copied. All else is left to a `Writer`, in
order: a checkpoint is in its place only after all rows and pictures before it. A picture that cannot be written is
named and left out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ganforge.config.schema import TrainingConfig
from ganforge.contract.errors import DivergenceError, GanforgeError
from ganforge.contract.networks import Generator
from ganforge.core.atomic_files import append_line
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.images import to_float
from ganforge.core.json_schema import to_json
from ganforge.data.store import PackedData
from ganforge.runs.checkpoint import copy_tensors, digest_tensors, save_generator
from ganforge.runs.folder import RunFolder
from ganforge.training.frozen import Frozen
from ganforge.training.recording.background_writer import Writer
from ganforge.training.recording.checkpoints import write_checkpoint, write_frozen
from ganforge.training.recording.health import Watch, measure_diversity
from ganforge.training.recording.pairs import choose_pairs
from ganforge.training.recording.sample_grids import (
    POINTS,
    generate_samples,
    paint_samples,
    save_picture,
    write_animation,
)
from ganforge.training.recording.statistics import Statistics
from ganforge.training.state import TrainingState

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


class Recorder:
    """The run folder as seen from the loop.

    Args:
        folder: Where everything is written.
        state: What is trained.
        data: What it is trained on.
        card: What a saved generator says of itself.
        training: The seed of the first image in a grid, how many there are, how often, and which checkpoints are kept.
        workers: The processes that train together; one of them writes.

    Attributes:
        writer: Writes what is handed over; until it has finished, files may be missing.
        statistics: What happened since the last tick.
        last: The newest score, or None.
        best: The lowest score, that of the generator which is kept as the best, or None.
        rows: Rows of metrics written so far; None after a resume from a checkpoint of a version that did not count.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: TrainingState,
        data: PackedData,
        card: Mapping[str, Any],
        training: TrainingConfig,
        workers: Workers = ALONE,
    ) -> None:
        self.writer = Writer()
        self.statistics = Statistics()
        self.last: Score | None = None
        self.best: Score | None = None
        self.rows: int | None = 0
        self.folder = folder
        self.state = state
        self.data = data
        self._card = card
        self.training = training
        self.workers = workers
        self.watch = Watch()
        self._reals = _choose_reals(data)
        self._pairs = None if data.sources is None else choose_pairs(data, training.samples, training.holdout)
        self._ticked = 0
        self._seconds_ticked = 0.0
        self._copied: Future[None] | None = None
        self._problems: deque[str] = deque()
        self._frozen: Frozen | None = None

    @property
    def due(self) -> bool:
        """Whether it is time for a tick."""
        return self.state.images >= self._ticked + (self.training.tick_images or max(1000, self._ticked // 20))

    @property
    def pending(self) -> bool:
        """Whether anything happened since the last tick."""
        return self.state.images > self._ticked

    def draw(self) -> dict[str, Any]:
        """Draw the averaged generator's samples, before the discriminator if in a plane.

        Returns:
            For a row of metrics: how diverse they are, and the path of the picture; nothing where nothing is written.
        """
        if not self.workers.is_main:
            return {}
        state, spec, path = self.state, self.data.spec, self.folder.sample_path(self.state.images)
        count, seed = self.training.samples, self.training.seed
        if self._pairs is not None:
            examples = self._pairs.translate(state.average, seed)
            picture = self._pairs.paint(examples)
        else:
            examples = generate_samples(state.average, spec, count, seed)
            picture = paint_samples(examples, spec, self._reals, state.discriminator)
        self._submit(self._decorate, save_picture, path, picture)
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
            WorkerError: Processes have come apart.
            PluginError: A frozen tensor changed, or a buffer appeared late.
            GanforgeError: A file cannot be written.
        """
        state = self.state
        if self._frozen is not None:
            self._frozen.check()
        if self.workers.size > 1:
            networks = {
                name: each
                for name, each in state.tensors().items()
                if "optimizer/" not in name and name not in state.frozen
            }
            self.workers.check_equal(digest_tensors(networks), "networks")
        elapsed = max(state.seconds - self._seconds_ticked, 1e-9)
        row = {
            "images": state.images,
            "seconds": round(state.seconds, 3),
            "images_per_second": round((state.images - self._ticked) / elapsed, 1),
            **self.statistics.read(),
            **self.draw(),
        }
        if warnings := self.watch.look(row):
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
        state = self.state
        values = scorer(state.average)
        self._check_finite(values)
        row = {"images": state.images, "seconds": round(state.seconds, 3), **values}
        self._write(row)
        metric, value = next(iter(values.items()))
        self.last = Score(metric, value, state.images)
        if self.best is None or value < self.best.value:
            self.best = self.last
            if self.workers.is_main:
                card = {**self._card, "images": state.images, "score": {"metric": metric, "value": value}}
                weights = self._copy(state.average.state_dict())
                self._copied = self._submit(save_generator, self.folder.best_generator, weights, card)
        return row, self.best

    def save(self) -> None:
        """Write the generator and a checkpoint as they are now, and drop checkpoints that are too old.

        Raises:
            PluginError: A frozen tensor changed, or a buffer appeared late.
            GanforgeError: A file cannot be written.
        """
        if not self.workers.is_main:
            return
        state = self.state
        frozen = self._keep_frozen()
        statistics = {f"statistics/{name}": pair for name, pair in self.statistics.tensors().items()}
        changing = {name: each for name, each in state.tensors().items() if name not in state.frozen}
        tensors = self._copy(changing | statistics)
        card = {
            "kind": "checkpoint",
            "images": state.images,
            "seconds": state.seconds,
            "streak": int(state.streak),
            "rollbacks": state.rollbacks,
            "ticked": self._ticked,
            "seconds_ticked": self._seconds_ticked,
            "rows": self.rows,
            "score": None if self.last is None else asdict(self.last),
            "fingerprint": self.data.fingerprint,
            "generator": self._card,
            **({"frozen": frozen.digest} if frozen.digest else {}),
        }
        best = None if self.best is None else self.best.images
        self._copied = self._submit(write_checkpoint, self.folder, tensors, card, self.training, best, state.frozen)

    def take_up(self, tensors: Mapping[str, Tensor], card: Mapping[str, Any], device: torch.device) -> None:
        """Bring everything to where a checkpoint stands, given its tensors and its card."""
        pairs = {name: tensor for name, tensor in tensors.items() if name.startswith("statistics/")}
        state = self.state
        state.load({name: tensor for name, tensor in tensors.items() if name not in pairs})
        self.statistics.load({name.removeprefix("statistics/"): pair for name, pair in pairs.items()}, device)
        state.images, state.seconds = card["images"], card["seconds"]
        state.streak.fill_(card.get("streak", 0))
        state.rollbacks = card.get("rollbacks", 0)
        self._ticked, self._seconds_ticked = card["ticked"], card["seconds_ticked"]
        rows = card.get("rows")
        self.rows = rows if isinstance(rows, int) else None
        self.last = Score(**card["score"]) if card.get("score") else None
        self.watch = Watch()
        self._frozen = None
        self._keep_frozen()

    def animate(self) -> None:
        """Make the animation of all pictures so far; it comes after the last checkpoint, which it must not cost."""
        if self.workers.is_main:
            self._submit(self._decorate, self._animate)
            self.writer.finish()

    def _animate(self) -> None:
        problems = write_animation(self.folder.animation, sorted(self.folder.samples.glob("*.png")))
        self._problems.extend(problems)

    def take_problems(self) -> list[str]:
        """What could not be drawn since this was asked last, in sentences."""
        return [self._problems.popleft() for _ in range(len(self._problems))]

    def newest_checkpoint(self) -> str:
        """The path of the newest checkpoint, in words."""
        self.writer.finish()
        paths = self.folder.checkpoint_paths()
        return str(paths[-1]) if paths else "the start"

    def _keep_frozen(self) -> Frozen:
        """The frozen tensors, which are written when a run starts or resumes, and checked from then on."""
        if self._frozen is None:
            self._frozen = Frozen(self.state)
            if self._frozen.digest and self.workers.is_main:
                self._submit(write_frozen, self.folder, self._frozen.tensors, self._frozen.digest)
            self._frozen.tensors = {}
        self._frozen.check()
        return self._frozen

    def _write(self, row: Mapping[str, Any]) -> None:
        if self.workers.is_main:
            self._submit(append_line, self.folder.metrics, to_json(row))
            self.rows = None if self.rows is None else self.rows + 1

    def _submit(self, function: Callable[..., None], *arguments: Any) -> Future[None]:
        """Hand over a job that writes into the folder, which must still be where it was."""
        return self.writer.submit(self._do, function, *arguments)

    def _do(self, function: Callable[..., None], *arguments: Any) -> None:
        self.folder.require_lock()
        function(*arguments)

    def _decorate(self, function: Callable[..., None], *arguments: Any) -> None:
        """Draw something; where that fails, the run goes on without it."""
        try:
            function(*arguments)
        except (GanforgeError, OSError, ValueError) as error:
            self._problems.append(f"warning: not drawn: {error}")

    def _copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What tensors hold now; the copy before has been written by then, so there is one at a time."""
        if self._copied is not None:
            self._copied.result()
        return copy_tensors(tensors)

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergenceError(
                    f"training diverged: {name} is {value} after {self.state.images} images",
                    f"go on from {self.newest_checkpoint()} with a lower learning rate, or try --reg r1",
                )


def _choose_reals(data: PackedData) -> Tensor:
    """Some real examples as they are packed, from all over the data."""
    count = min(len(data), REALS if data.spec.is_image else POINTS)
    return data.examples[torch.linspace(0, len(data) - 1, count).long()]
