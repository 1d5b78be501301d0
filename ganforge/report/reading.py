"""Read a run directory; missing and damaged files are skipped."""

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
from ganforge.runs.metric_rows import Row, best_score, read_lines, read_row


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
        config: Sections with their settings.
        ticks: Rows of training statistics.
        scores: Rows of scores.
        evaluations: Rows of ``ganforge eval``.
        grids: Sample grids.
        nearest: Picture of samples and their nearest training images, if it exists.
        sessions: Device and versions of each start or resume.
        problems: Read errors.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    ticks: list[Row]
    scores: list[Row]
    evaluations: list[Evaluation]
    grids: list[Grid]
    nearest: Path | None
    sessions: list[Session]
    problems: list[str]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.path.resolve().name

    @property
    def images(self) -> int:
        """Real images seen so far."""
        return max((row.images for row in [*self.ticks, *self.scores]), default=0)

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


def read_run(folder: RunFolder) -> RunData:
    """Read a run directory; errors are collected in `RunData.problems`.

    Raises:
        CheckpointError: The configuration cannot be read.
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
    return RunData(
        folder=folder,
        config=folder.read_config(),
        ticks=[row for row in rows if row.is_tick],
        scores=[row for row in rows if not row.is_tick],
        evaluations=evaluations,
        grids=grids,
        nearest=nearest if nearest.is_file() else None,
        sessions=read_lines(folder.environment, lambda line: decode(line, Session, null_nan=True), problems),
        problems=problems,
    )


def numbers_in(rows: Iterable[Row], name: str) -> list[tuple[int, float]]:
    """Return pairs of images and value from rows that have it; NaN for non-finite values."""
    found = [(row.images, row.numbers[name]) for row in rows if name in row.numbers]
    return [(images, math.nan if value is None else value) for images, value in found]
