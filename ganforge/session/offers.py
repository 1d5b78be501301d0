"""Suggested commands for ``ganforge train`` without arguments."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ganforge.contract.errors import GanforgeError
from ganforge.runs.folder import RunFolder

MAX_FILES = 5_000
"""Files that are counted in a folder."""

MIN_IMAGES = 16
"""Images in a folder that is offered."""

MAX_PLACES = 3
"""Folders and files that are offered."""


class Offer(NamedTuple):
    """A suggested command.

    Attributes:
        words: Description.
        command: Command line.
    """

    words: str
    command: str


def find_offers(here: Path, out: Path) -> list[Offer]:
    """List commands that work in a folder: train on its images, resume the newest run, train on built-in data.

    Args:
        here: The folder.
        out: Folder of all runs.
    """
    offers = [
        Offer(f"images in {path.name}: {words}", f"ganforge train --data {shlex.quote(path.name)}")
        for path, words in _find_data(here, out)
    ][:MAX_PLACES]
    with suppress(GanforgeError, OSError, ValueError, TypeError, KeyError):  # no run, or a damaged one
        offers.append(_offer_resume(RunFolder.find(None, out)))
    faces = "faces that ganforge draws: no download, about a minute on a CPU"
    return [*offers, Offer(faces, "ganforge train --data avatars --images 8k")]


def _offer_resume(folder: RunFolder) -> Offer:
    from ganforge.runs.metric_rows import read_rows

    training = folder.read_config().get("training", {})
    images = max((row.images for row in read_rows(folder.metrics)), default=0)
    minutes = training.get("minutes")
    budget = f"--minutes {2 * minutes:g}" if minutes else f"--images {2 * max(images, training.get('images') or 1)}"
    words = f"resume {folder.path}, which has seen {images:,} images"
    return Offer(words, f"ganforge train --resume {shlex.quote(str(folder.path))} {budget}")


def _find_data(here: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """Yield files and folders that may hold examples, each with its size in words."""
    from ganforge.data.decode import SUFFIXES

    try:
        entries = sorted(here.iterdir())
    except OSError:
        return
    for path in entries:
        if path.name.startswith((".", "-")) or path.resolve() == out.resolve():
            continue
        if path.suffix in (".zip", ".npy") and path.is_file():
            yield path, f"{path.stat().st_size / 1e6:,.1f} MB"
        elif path.is_dir():
            found = _count_images(path, SUFFIXES)
            if found >= MIN_IMAGES:
                yield path, f"{found:,}{' or more' * (found >= MAX_FILES)}"


def _count_images(folder: Path, suffixes: tuple[str, ...]) -> int:
    """Count images in a folder and its subfolders, within the first `MAX_FILES` files."""
    visited, found = 0, 0
    for _, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += sum(each.lower().endswith(suffixes) for each in files)
        visited += len(files) + len(folders)
        if visited >= MAX_FILES:
            return min(found, MAX_FILES)
    return found
