"""What all commands share: the console, the global options, and how devices and runs are named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.completion import complete_run
from ganforge.contract.errors import OptionError

if TYPE_CHECKING:
    from ganforge.plugins.registry import Registry


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
    from ganforge.plugins.loading import load_plugins
    from ganforge.plugins.registry import Registry

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
    from ganforge.plugins.options import coerce

    number = coerce(value, kind, flag)
    if least is not None and number < least:
        raise OptionError(f"{flag}: {value} is too small", f"the least is {least}")
    if most is not None and number > most:
        raise OptionError(f"{flag}: {value} is too large", f"the most is {most}")
    return number
