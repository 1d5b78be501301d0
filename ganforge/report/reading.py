"""Read a run directory; missing and damaged files are skipped."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ganforge.config.schema import TrainingConfig
from ganforge.config.stored import stored_training
from ganforge.contract.errors import GanforgeError
from ganforge.core.json_schema import NonNegativeInt, PositiveInt, decode
from ganforge.evaluation.metrics.memorization import PICTURE
from ganforge.evaluation.results.result import FILE, Evaluation, read_rows
from ganforge.runs.checkpoint import read_generator_card
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import Row, best_score, read_lines, read_row
from ganforge.runs.origin import describe_origin
from ganforge.runs.shipped import output_folder


@dataclass(frozen=True)
class Grid:
    """A sample grid.

    Attributes:
        images: Real images seen before it was drawn.
        path: A PNG file.
    """

    images: int
    path: Path


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A row of ``environment.jsonl``: device and versions at a start or resume."""

    began: str = ""
    images: NonNegativeInt = 0
    device: str = ""
    cores: PositiveInt | None = None
    processes: PositiveInt = 1
    plan: str = ""
    platform: str = ""
    python: str = ""
    versions: dict[str, str] = {}
    plugins: dict[str, str] = {}


@dataclass(frozen=True)
class RunData:
    """Content of a run directory; lists are sorted from old to new.

    Attributes:
        folder: Run directory.
        name: Name of the folder, with those above it where runs share it.
        config: Sections with their settings.
        training: Settings of the training; the defaults if they are damaged.
        ticks: Rows of training statistics.
        scores: Rows of scores.
        evaluations: Rows of ``ganforge eval``.
        grids: Sample grids.
        reals: Grid of real examples, if it exists.
        nearest: Picture of samples and their nearest training images, if it exists.
        origin: Facts about the origin of the weights, with their license; empty without weights.
        sessions: Device and versions of each start or resume.
        problems: Read errors.
    """

    folder: RunFolder
    name: str
    config: Mapping[str, Any]
    training: TrainingConfig
    ticks: list[Row]
    scores: list[Row]
    evaluations: list[Evaluation]
    grids: list[Grid]
    reals: Path | None
    nearest: Path | None
    origin: Mapping[str, str]
    sessions: list[Session]
    problems: list[str]

    @property
    def images(self) -> int:
        """Real images seen so far."""
        return max((row.images for row in [*self.ticks, *self.scores]), default=0)

    @property
    def last(self) -> dict[str, float]:
        """Finite statistics of the last tick."""
        known = self.ticks[-1].numbers if self.ticks else {}
        return {name: value for name, value in known.items() if value is not None}

    def newest(self, metric: str) -> Evaluation | None:
        """Return the newest evaluation by a metric, with any features."""
        return next((each for each in reversed(self.evaluations) if each.metric.partition("_")[0] == metric), None)

    @property
    def best(self) -> tuple[str, Row] | None:
        """As `best_score`."""
        return best_score(self.scores)

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """Health warnings with their images; of repeated ones, the first and the last."""
        found: dict[str, list[tuple[int, str]]] = {}
        for row in self.ticks:
            for text in row.warnings:
                found.setdefault(text.split(":")[0], []).append((row.images, text))
        return sorted({each for same in found.values() for each in (same[0], same[-1])})


def read_runs(folders: Sequence[RunFolder], out: Path = Path("runs")) -> list[RunData]:
    """Read run directories; errors are collected in `RunData.problems`.

    Args:
        folders: Run directories.
        out: Folder of all runs, where evaluations of shipped generators are.

    Raises:
        CheckpointError: The configuration cannot be read.
    """
    parts = [each.path.resolve().parts for each in folders]
    names: list[str] = []
    for length in range(1, max(map(len, parts))):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return [
        _read_run(folder, name, output_folder(folder.path, out)) for folder, name in zip(folders, names, strict=True)
    ]


def _read_run(folder: RunFolder, name: str, home: Path) -> RunData:
    problems: list[str] = []
    rows = read_lines(folder.metrics, read_row, problems)
    try:
        evaluations = read_rows(home / FILE)
    except GanforgeError as error:
        evaluations = []
        problems.append(error.message)
    grids = [Grid(int(each.stem), each) for each in folder.sample_paths()]
    nearest = home / PICTURE
    config, training = folder.read_config(), TrainingConfig()
    try:
        training = stored_training(config)
    except GanforgeError as error:
        problems.append(f"{folder.config}: {error.message}")
    origin: dict[str, str] = {}
    with suppress(GanforgeError):  # a problem of drawing samples
        origin = describe_origin(read_generator_card(folder.generator))
    return RunData(
        folder=folder,
        name=name,
        config=config,
        training=training,
        ticks=[row for row in rows if row.is_tick],
        scores=[row for row in rows if not row.is_tick],
        evaluations=evaluations,
        grids=grids,
        reals=folder.reals if os.path.lexists(folder.reals) else None,
        nearest=nearest if nearest.is_file() else None,
        origin=origin,
        sessions=read_lines(folder.environment, lambda line: decode(line, Session, null_nan=True), problems),
        problems=problems,
    )


def numbers_in(rows: Iterable[Row], name: str) -> list[tuple[int, float]]:
    """Return pairs of images and value from rows that have it; NaN for non-finite values."""
    found = [(row.images, row.numbers[name]) for row in rows if name in row.numbers]
    return [(images, math.nan if value is None else value) for images, value in found]
