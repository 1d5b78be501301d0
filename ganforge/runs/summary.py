"""Summaries of run directories: what a list of runs shows, without weights and without torch."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from ganforge.contract.errors import GanforgeError
from ganforge.core.atomic_files import is_locked, read_text
from ganforge.runs.folder import RunFolder, is_run
from ganforge.runs.metric_rows import MOST_BYTES, Row, best_score, read_row
from ganforge.runs.origin import IMPORTED
from ganforge.runs.shipped import SHIPPED, is_shipped, shipped_names

_TICK = '"images_per_second"'
"""Text of each line that is a tick."""

State = Literal["running", "finished", "stopped", "imported", "shipped", "damaged"]


class Best(msgspec.Struct, frozen=True):
    """Best score of a run, and the images that it was measured after."""

    metric: str
    value: float
    images: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a run directory.

    Attributes:
        name: Name of the directory.
        path: Its path.
        state: ``stopped`` if it does not train and its budget is not spent; ``damaged`` if a file is invalid.
        images: Real images seen; None without statistics.
        seconds: Training time; None without statistics.
        best: Best score; None without scores.
        num_bytes: Size of all files.
        picture: Path of the newest sample grid; None without one.
        problem: Error of a damaged run, else empty.
    """

    name: str
    path: str
    state: State
    images: int | None = None
    seconds: float | None = None
    best: Best | None = None
    num_bytes: int = 0
    picture: str | None = None
    problem: str = ""


def summarize_runs(out: Path) -> list[Summary]:
    """Summarize the shipped generators, and all runs in a directory by name; an invalid run is ``damaged``."""
    runs = sorted(each for each in out.iterdir() if is_run(each)) if out.is_dir() else []
    return [summarize(path) for path in (*(SHIPPED / name for name in shipped_names()), *runs)]


def summarize(path: Path) -> Summary:
    """Summarize a run directory, which may be of a stranger."""
    known: dict[str, Any] = {"name": path.name, "path": str(path), "num_bytes": _count_bytes(path)}
    try:
        folder = RunFolder(path)
        training, source = _read_settings(folder)
        rows = _read_rows(folder.metrics)
    except GanforgeError as error:
        return Summary(**known, state="damaged", problem=error.message)
    images, seconds = (max((getattr(row, name) for row in rows), default=None) for name in ("images", "seconds"))
    best = None
    if found := best_score(rows):
        metric, row = found
        best = Best(metric, row.numbers[metric] or 0.0, row.images)
    is_spent = any(
        most is not None and spent is not None and spent >= most
        for spent, most in ((images, training.get("images")), (seconds, 60 * (training.get("minutes") or 0) or None))
    )
    state: State = "finished" if is_spent else "stopped"
    if is_shipped(path):
        state = "shipped"
    elif is_locked(path / "run.lock"):
        state = "running"
    elif not rows and source == IMPORTED:
        state = "imported"
    return Summary(**known, state=state, images=images, seconds=seconds, best=best, picture=_find_picture(folder))


def _read_settings(folder: RunFolder) -> tuple[dict[str, Any], str | None]:
    """Return the section ``training`` of the configuration, and the source of the data."""
    config = folder.read_config()
    return config.get("training", {}), config.get("data", {}).get("source")


def _read_rows(path: Path) -> Sequence[Row]:
    """Read the rows of scores and the last tick; a last line without its line feed is being written."""
    try:
        text = read_text(path, most=MOST_BYTES, follow=False)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise GanforgeError(f"{path} cannot be read: {error}") from None
    lines = [line for line in text.split("\n")[:-1] if line]
    ticks = [line for line in lines if _TICK in line]
    rows = []
    for line in [*(line for line in lines if _TICK not in line), *ticks[-1:]]:
        try:
            rows.append(read_row(line))
        except ValueError as error:
            raise GanforgeError(f"{path} holds a damaged row: {error}") from None
    return rows


def _find_picture(folder: RunFolder) -> str | None:
    """Return the path of the newest sample grid that is a regular file."""
    with suppress(OSError):
        names = (each.name for each in os.scandir(folder.samples) if each.is_file(follow_symlinks=False))
        grids = [name for name in names if name.endswith(".png") and name.removesuffix(".png").isdecimal()]
        return str(folder.samples / max(grids)) if grids else None
    return None


def _count_bytes(path: Path) -> int:
    """Return the size of all regular files below a directory; links are not followed."""
    total, folders = 0, [os.fspath(path)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for each in entries:
                found = each.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    folders.append(each.path)
                elif stat.S_ISREG(found.st_mode):
                    total += found.st_size
    return total
