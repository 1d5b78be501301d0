"""What a run folder tells of itself, as far as it is there and whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganforge.errors import GanforgeError
from ganforge.evaluation.memorising import PICTURE
from ganforge.evaluation.result import FILE, Evaluation, read_rows
from ganforge.files import read_text
from ganforge.forms import parse_json
from ganforge.runs import RunFolder

_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Grid:
    """A grid of samples from the run's fixed seeds.

    Attributes:
        images: Real examples shown before it was drawn.
        path: A PNG file.
    """

    images: int
    path: Path


@dataclass(frozen=True)
class Story:
    """A run as it is told of.

    Attributes:
        folder: Where it lies.
        config: Sections with their settings.
        ticks: Rows of metrics, oldest first, each with ``images`` and numbers by name.
        scores: Rows of scores, likewise.
        evaluations: What `ganforge eval` found, oldest first.
        grids: Oldest first.
        nearest: The picture of samples beside their nearest training images, if one was made.
        sittings: For each time it was begun or gone on with: device, versions and the moment.
        problems: What could not be read, in sentences.
    """

    folder: RunFolder
    config: Mapping[str, Any]
    ticks: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    evaluations: list[Evaluation]
    grids: list[Grid]
    nearest: Path | None
    sittings: list[dict[str, Any]]
    problems: list[str]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.path.resolve().name

    @property
    def images(self) -> int:
        """Real examples shown so far, as its rows tell."""
        return max((row["images"] for row in [*self.ticks, *self.scores]), default=0)

    @property
    def best(self) -> tuple[str, dict[str, Any]] | None:
        """The metric that says which generator is the best, and the row in which it is lowest; None without scores."""
        rows = [(metric, row) for row in self.scores if (metric := metric_of(row))]
        return min(rows, key=lambda each: each[1][each[0]]) if rows else None

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """What was warned of while it trained, with the images by then; of what is repeated, first and last."""
        told: dict[str, list[tuple[int, str]]] = {}
        for row in self.ticks:
            for text in row.get("warnings", []):
                told.setdefault(str(text).split(":")[0], []).append((row["images"], str(text)))
        return sorted({each for found in told.values() for each in (found[0], found[-1])})


def metric_of(row: Mapping[str, Any]) -> str | None:
    """The metric of a row of scores: the first."""
    return next((name for name in row if name not in ("images", "seconds")), None)


def read_story(folder: RunFolder) -> Story:
    """Read a run; what is missing is left out, and what is damaged is told of.

    Raises:
        CheckpointError: Its configuration cannot be read, without which it is no run.
    """
    problems: list[str] = []
    rows = [row for row in _read_json_lines(folder.metrics, problems) if isinstance(row.get("images"), int)]
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
        ticks=[row for row in rows if "images_per_second" in row],
        scores=[row for row in rows if "images_per_second" not in row],
        evaluations=evaluations,
        grids=grids,
        nearest=nearest if nearest.is_file() else None,
        sittings=_read_json_lines(folder.environment, problems),
        problems=problems,
    )


def numbers_in(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[int, float]]:
    """Pairs of images and a number, of the rows that have it."""
    found = [(row["images"], row.get(name)) for row in rows]
    return [(images, float(value)) for images, value in found if isinstance(value, int | float)]


def _read_json_lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    try:
        lines = read_text(path, most=_MOST_BYTES).splitlines()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = parse_json(line)
            if not isinstance(row, dict):
                raise ValueError("it is no object")
            rows.append(row)
        except ValueError as error:
            problems.append(f"{path}, line {number}, is damaged: {error}")
    return rows
