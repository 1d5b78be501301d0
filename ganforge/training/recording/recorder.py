"""Recorder: metrics and sample grids at each tick, and checkpoints that resume bit for bit.

The networks are read immediately: samples are generated and tensors are copied. Files are written in order by a
background writer, so a checkpoint exists only after the rows and sample grids before it.
"""

from __future__ import annotations

import math
import os
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
from ganforge.core.atomic_files import append_line, write_bytes
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.images import png_bytes
from ganforge.core.json_schema import convert, to_json
from ganforge.data.store import PackedData
from ganforge.runs.checkpoint import copy_tensors, digest_tensors, save_generator
from ganforge.runs.folder import RunFolder
from ganforge.runs.origin import ORIGIN
from ganforge.training.frozen import Frozen
from ganforge.training.recording.background_writer import Writer
from ganforge.training.recording.checkpoints import write_checkpoint, write_frozen
from ganforge.training.recording.health import HealthMonitor
from ganforge.training.recording.sample_grids import write_animation
from ganforge.training.recording.samples import Samples, paint_reals
from ganforge.training.recording.statistics import Statistics
from ganforge.training.state import TrainingState, select

Scorer = Callable[[Generator], Mapping[str, float]]
"""Score of a generator: values by name of the metric, lower is better; the first one selects the best generator."""


@dataclass(frozen=True)
class Score:
    """Score of the EMA generator; `value` is lower if better, after `images` real examples."""

    metric: str
    value: float
    images: int


class Recorder:
    """Writes the run directory during training; of several processes, the main one.

    Attributes:
        writer: Background writer.
        statistics: Scalars since the last tick.
        last: Latest score, or None.
        best: Best score, or None; its generator is kept.
        rows: Number of rows written; None if unknown after a resume from an older version.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: TrainingState,
        data: PackedData,
        card: dict[str, Any],
        training: TrainingConfig,
        workers: Workers = ALONE,
        networks: Mapping[str, dict[str, Any]] | None = None,
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
        self._networks = networks or {}  # cards of further generators
        self.training = training
        self.workers = workers
        self.health = HealthMonitor()
        self._samples = Samples(data, training)
        self._ticked = 0
        self._seconds_ticked = 0.0
        self._copied: Future[None] | None = None
        self._problems: deque[str] = deque()
        self._frozen: Frozen | None = None

    @property
    def due(self) -> bool:
        """Return whether the next tick is due."""
        return self.state.images >= self._ticked + (self.training.tick_images or max(1000, self._ticked // 20))

    @property
    def pending(self) -> bool:
        """Return whether images were seen since the last tick."""
        return self.state.images > self._ticked

    def draw(self) -> dict[str, Any]:
        """Draw samples, and return their diversity and picture for a row; empty except in the main process."""
        if not self.workers.is_main:
            return {}
        path = self.folder.sample_path(self.state.images)
        picture, diversity = self._samples.draw(self.state)
        xmp = self._samples.mark(self.state, self._card)
        self._submit(self._write_picture, lambda: write_bytes(path, png_bytes(picture, xmp)))
        return {**diversity, "picture": str(path)}

    def draw_reals(self) -> None:
        """Draw real examples, with which a report compares samples."""
        picture = paint_reals(self.data, self.training.samples) if self.workers.is_main else None
        if picture is not None:
            self._submit(self._write_picture, lambda: write_bytes(self.folder.reals, png_bytes(picture)))

    def tick(self) -> dict[str, Any]:
        """Write a row of metrics and a sample grid; raise `WorkerError` if processes hold different networks."""
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
        if warnings := self.health.check(row):
            row["warnings"] = warnings
        self._write(row)
        self._ticked, self._seconds_ticked = state.images, state.seconds
        return row

    def score(self, scorer: Scorer) -> tuple[dict[str, Any], Score]:
        """Score the EMA generator, write a row, and keep the best generator; return the row and the best score."""
        state = self.state
        values = scorer(state.ema)
        self._check_finite(values)
        copied = self._samples.score(state) if self.workers.is_main else {}
        row = {"images": state.images, "seconds": round(state.seconds, 3), **values, **copied}
        self._write(row)
        metric, value = next(iter(values.items()))
        self.last = Score(metric, value, state.images)
        if self.best is None or value < self.best.value:
            self.best = self.last
            if self.workers.is_main:
                score = {"metric": metric, "value": value}
                card = {**self._card, **state.origin, "images": state.images, "score": score}
                weights = self._copy(state.ema.state_dict())
                self._copied = self._submit(save_generator, self.folder.best_generator, weights, card)
        return row, self.best

    def save(self) -> None:
        """Write the generator and a checkpoint, and remove old checkpoints."""
        if not self.workers.is_main:
            return
        state = self.state
        frozen = self._keep_frozen()
        statistics = {f"statistics/{name}": pair for name, pair in self.statistics.tensors().items()}
        changing = {name: each for name, each in state.tensors().items() if name not in state.frozen}
        tensors = self._copy(changing | statistics)
        networks = {name: card | state.origin for name, card in self._networks.items()}
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
            "generator": self._card | state.origin,
            **({"networks": networks} if networks else {}),
            **({"frozen": frozen.digest} if frozen.digest else {}),
        }
        best = None if self.best is None else self.best.images
        self._copied = self._submit(write_checkpoint, self.folder, tensors, card, self.training, best, state.frozen)

    def restore(self, tensors: Mapping[str, Tensor], card: Mapping[str, Any], device: torch.device) -> None:
        """Restore the state from a checkpoint's tensors and card."""
        state = self.state
        state.load({name: tensor for name, tensor in tensors.items() if not name.startswith("statistics/")})
        self.statistics.load(select(tensors, "statistics"), device)
        state.images, state.seconds = card["images"], card["seconds"]
        state.origin = {name: card["generator"][name] for name in ORIGIN if name in card["generator"]}
        state.streak.fill_(card.get("streak", 0))
        state.rollbacks = card.get("rollbacks", 0)
        self._ticked, self._seconds_ticked = card["ticked"], card["seconds_ticked"]
        rows = card.get("rows")
        self.rows = rows if isinstance(rows, int) else None
        self.last = convert(card["score"], Score) if card.get("score") else None
        self.health = HealthMonitor()
        self._frozen = None
        self._keep_frozen()

    def animate(self) -> None:
        """Write the animation of all sample grids."""
        if self.workers.is_main:
            self._submit(self._write_picture, self._animate)
            self.writer.finish()

    def _animate(self) -> None:
        self._problems.extend(write_animation(self.folder.animation, self.folder.sample_paths()))

    def pop_problems(self) -> list[str]:
        """Return and clear the messages about pictures that could not be written."""
        return [self._problems.popleft() for _ in range(len(self._problems))]

    def newest_checkpoint(self) -> str:
        """Return the path of the newest checkpoint, or ``the start``; all processes must call this."""

        def find() -> bytes:
            self.writer.finish()
            paths = self.folder.checkpoint_paths()
            return os.fsencode(paths[-1]) if paths else b"the start"

        return os.fsdecode(self.workers.on_main(find))

    def _keep_frozen(self) -> Frozen:
        """Return the frozen tensors, which are written once at the start and then checked."""
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
        """Queue a write into the run directory, which must still be locked."""
        return self.writer.submit(self._run_job, function, *arguments)

    def _run_job(self, function: Callable[..., None], *arguments: Any) -> None:
        self.folder.require_lock()
        function(*arguments)

    def _write_picture(self, function: Callable[..., None], *arguments: Any) -> None:
        """Write a picture; an error becomes a warning."""
        try:
            function(*arguments)
        except (GanforgeError, OSError, ValueError) as error:
            self._problems.append(f"warning: picture not written: {error}")

    def _copy(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Copy tensors to the CPU, after the previous copy is written, so that only one exists."""
        if self._copied is not None:
            self._copied.result()
        return copy_tensors(tensors)

    def _check_finite(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise DivergenceError(
                    f"training diverged: {name} is {value} after {self.state.images} images",
                    f"resume from {self.newest_checkpoint()} with a lower learning rate, or try --reg r1",
                )
