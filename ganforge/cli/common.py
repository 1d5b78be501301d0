"""What all commands share: the console, the global options, and how devices and runs are named."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ganforge.cli.completion import complete_run
from ganforge.errors import OptionError
from ganforge.text import escape_controls

if TYPE_CHECKING:
    import torch

    from ganforge.registry import Registry


class _Console(Console):
    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError:  # EIO of a terminal that was closed: a pipe whose reader is gone is caught by the base class
            self.on_broken_pipe()

    def on_broken_pipe(self) -> None:
        """Whoever read has left: be quiet, and let what is being done go on."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


console = _Console(stderr=True, highlight=False)
"""Progress and messages; results go to standard output."""


@dataclass
class GlobalOptions:
    """Options that stand before the command, or anywhere after it.

    Attributes:
        plugins: Files of ``--plugin``.
        disabled: Names of ``--disable``.
        arguments: The whole command line, such as other processes are started with.
    """

    plugins: list[Path] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


global_options = GlobalOptions()

RunArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN",
        help="A run: its folder, name or number. The newest if left out.",
        show_default=False,
        autocompletion=complete_run,
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="The folder of all runs.")]
SeedOption = Annotated[str, typer.Option("--seed", metavar="N", help="Seed of the first image; the next has the next.")]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cuda|cpu", help="Where to compute.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def open_registry() -> Registry:
    """All parts of installed plugins and of ``--plugin`` files, less what ``--disable`` names."""
    from ganforge.plugins import load_plugins
    from ganforge.registry import Registry

    return Registry(load_plugins(global_options.plugins, global_options.disabled))


MOST_SHOWN = 100_000
"""Images in one picture or one animation, at most."""


MOST_MEASURED = 10_000_000
"""Images that a measure is taken of, at most: days of drawing."""


def read_number(value: str, kind: type[Any], flag: str, least: float | None = None, most: float | None = None) -> Any:
    """A number as a user writes it, such as ``500k``.

    Raises:
        OptionError: It is none, too small or too large.
    """
    from ganforge.options import coerce

    number = coerce(value, kind, flag)
    if least is not None and number < least:
        raise OptionError(f"{flag}: {value} is too small", f"the least is {least}")
    if most is not None and number > most:
        raise OptionError(f"{flag}: {value} is too large", f"the most is {most}")
    return number


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is one.

    Raises:
        OptionError: It is unknown, or CUDA is not to be had.
    """
    import torch

    from ganforge.errors import nearest

    choices = ("auto", "cuda", "cpu")
    if name not in choices:
        raise OptionError(f"--device {name}: there is no such device", nearest(name, choices))
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch finds no CUDA device here", "use --device cpu, or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, found = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local_rank >= found:
        raise OptionError(
            f"process {local_rank} of this machine has no GPU: torch finds {found}", f"start {found} of them at most"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda")


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar that stands while the block runs; where there is no terminal, nothing is shown.

    Yields:
        What to call with how much is done, and of how much.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(escape_controls(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def usable_cache() -> Iterator[Path]:
    """The user's cache; where it cannot be written, a folder that is gone afterwards."""
    from ganforge.data.cache import cache_folder, sweep_cache

    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            pass
    except OSError as error:
        say(f"note: {cache} cannot be written ({error.strerror}), so nothing is kept for the next time")
        with tempfile.TemporaryDirectory(prefix="ganforge-") as folder:
            yield Path(folder)
        return
    sweep_cache()
    yield cache


def process_rank() -> int:
    """The number of this process among those that a launcher started together; the first speaks for all."""
    return int(os.environ.get("RANK", 0)) if "WORLD_SIZE" in os.environ else 0


def process_count() -> int:
    """How many processes a launcher started together; 1 if none did."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def say(text: str) -> None:
    """Print lines for the person at the terminal; control characters in them are escaped."""
    console.print(escape_controls(text, keep="\n"), markup=False, soft_wrap=True)


def print_result(text: str) -> None:
    """Print a result to standard output, as `say` does; of several processes, the first does."""
    if process_rank():
        return
    sys.stdout.write(escape_controls(text, keep="\n\t") + "\n")
    sys.stdout.flush()
