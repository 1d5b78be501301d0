"""What to begin with, for whoever says nothing more than ``ganforge train``."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import typer

from ganforge.contract.errors import GanforgeError
from ganforge.core.console import console, print_result
from ganforge.runs.folder import RunFolder

MOST_LOOKED_AT = 5_000
"""Files of a folder; whoever has more has enough."""

LEAST_IMAGES = 16
"""In a folder that is offered."""

MOST_OFFERED = 3
"""Places with images."""


@dataclass(frozen=True)
class Offer:
    """Something to begin with.

    Attributes:
        words: What it is.
        command: A command line.
    """

    words: str
    command: str


def find_offers(here: Path, out: Path) -> list[Offer]:
    """What can be done from a folder.

    Args:
        here: The folder.
        out: The folder of all runs.
    """
    offers = [
        Offer(f"images in {path.name}: {words}", f"ganforge train --data {shlex.quote(path.name)}")
        for path, words in _places(here, out)
    ][:MOST_OFFERED]
    with suppress(GanforgeError, OSError, ValueError, TypeError, KeyError):  # none is there, or it is damaged
        offers.append(_offer_run(RunFolder.find(None, out)))
    faces = "faces that ganforge draws itself: nothing to download, one or two minutes on a CPU"
    return [*offers, Offer(faces, "ganforge train --arch dcgan --loss nonsat --images 10k")]


def offer(here: Path, out: Path) -> list[str]:
    """Explain what can be done; at a terminal, let the user choose.

    Returns:
        The arguments of the command that was chosen; none where nothing was.
    """
    offers = find_offers(here, out)
    print_result("ganforge train needs to know what to train on. From here:")
    for number, each in enumerate(offers, 1):
        print_result(f"  {number}  {each.words}\n     {each.command}")
    print_result("All settings in a file to edit: ganforge init. What images are good for: ganforge data check FOLDER")
    if not (sys.stdin.isatty() and console.is_terminal):
        return []
    choice = typer.prompt(f"Which one [1-{len(offers)}; Enter for none]", default="", show_default=False)
    if choice.strip() not in map(str, range(1, len(offers) + 1)):
        return []
    return shlex.split(offers[int(choice) - 1].command)[1:]


def _offer_run(folder: RunFolder) -> Offer:
    """To go on with a run."""
    from ganforge.runs.metric_rows import read_rows

    training = folder.read_config().get("training", {})
    images = max((row.images for row in read_rows(folder.metrics)), default=0)
    minutes = training.get("minutes")
    budget = f"--minutes {2 * minutes:g}" if minutes else f"--images {2 * max(images, training.get('images') or 1)}"
    words = f"go on with {folder.path}, which has seen {images:,} images"
    return Offer(words, f"ganforge train --resume {shlex.quote(str(folder.path))} {budget}")


def _places(here: Path, out: Path) -> Iterator[tuple[Path, str]]:
    """What lies in a folder and may hold examples, with a word on each."""
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
            found = _count(path, SUFFIXES)
            if found >= LEAST_IMAGES:
                yield path, f"{found:,}{' or more' * (found >= MOST_LOOKED_AT)}"


def _count(folder: Path, suffixes: tuple[str, ...]) -> int:
    """How many images lie in a folder and in the folders in it; no more than `MOST_LOOKED_AT` files are looked at."""
    looked, found = 0, 0
    for _, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith(".")]
        found += sum(each.lower().endswith(suffixes) for each in files)
        looked += len(files) + len(folders)
        if looked >= MOST_LOOKED_AT:
            return min(found, MOST_LOOKED_AT)
    return found
