"""What a run folder tells of itself, as far as it is there and whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ganforge.contract.errors import GanforgeError
from ganforge.core.json_schema import NonNegativeInt, PositiveInt, decode
from ganforge.evaluation.metrics.memorization import PICTURE
from ganforge.evaluation.results.result import FILE, Evaluation, read_rows
from ganforge.runs.folder import RunFolder
from ganforge.runs.metric_rows import Row, read_lines, read_row


@dataclass(frozen=True)
class Grid:
    """A grid of samples from the run's fixed seeds.

    Attributes:
        images: Real examples shown before it was drawn.
        path: A PNG file.
    """

    images: int
    path: Path


class Sitting(msgspec.Struct, frozen=True, kw_only=True):
    """One row of ``environment.jsonl``: where and with what a run was started or resumed."""

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
class Story:
    """A run as it is told of.

    Attributes:
        folder: Where it lies.
        config: Sections with their settings.
        ticks: Rows of metrics, oldest first.
        scores: Rows of scores, likewise.
        evaluations: What `ganforge eval` found, oldest first.
        grids: Oldest first.
        nearest: The picture of samples beside their nearest training images, if one was made.
        sittings: For each time it was begun or gone on with: device, versions and the moment.
        problems: What could not be read, in sentences.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    ticks: list[Row]
    scores: list[Row]
    evaluations: list[Evaluation]
    grids: list[Grid]
    nearest: Path | None
    sittings: list[Sitting]
    problems: list[str]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.path.resolve().name

    @property
    def images(self) -> int:
        """Real examples shown so far, as its rows tell."""
        return max((row.images for row in [*self.ticks, *self.scores]), default=0)

    @property
    def best(self) -> tuple[str, Row] | None:
        """The metric that says which generator is the best, and the row in which it is lowest; None without scores."""
        rows = [
            (value, place, metric, row)
            for place, row in enumerate(self.scores)
            if (metric := row.metric) and (value := row.numbers[metric]) is not None
        ]
        return min(rows)[2:] if rows else None

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """What was warned of while it trained, with the images by then; of what is repeated, first and last."""
        told: dict[str, list[tuple[int, str]]] = {}
        for row in self.ticks:
            for text in row.warnings:
                told.setdefault(text.split(":")[0], []).append((row.images, text))
        return sorted({each for found in told.values() for each in (found[0], found[-1])})


def read_story(folder: RunFolder) -> Story:
    """Read a run; what is missing is left out, and what is damaged is told of.

    Raises:
        CheckpointError: Its configuration cannot be read, without which it is no run.
    """
    problems: list[str] = []
    rows = read_lines(folder.metrics, read_row, problems)
    try:
        evaluations = read_rows(folder.path / FILE)
    except GanforgeError as error:
        evaluations = []
        problems.append(error.message)
    grids = [Grid(int(each.stem), each) for each in sorted(folder.samples.glob("*.png")) if each.stem.isdecimal()]
    nearest = folder.path / PICTURE
    return Story(
        folder=folder,
        config=folder.read_config(),
        ticks=[row for row in rows if row.is_tick],
        scores=[row for row in rows if not row.is_tick],
        evaluations=evaluations,
        grids=grids,
        nearest=nearest if nearest.is_file() else None,
        sittings=read_lines(folder.environment, lambda line: decode(line, Sitting, null_nan=True), problems),
        problems=problems,
    )


def numbers_in(rows: Iterable[Row], name: str) -> list[tuple[int, float]]:
    """Pairs of images and a number, of the rows that have it; NaN where it was not finite."""
    found = [(row.images, row.numbers[name]) for row in rows if name in row.numbers]
    return [(images, math.nan if value is None else value) for images, value in found]
