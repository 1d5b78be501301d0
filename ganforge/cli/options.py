"""Options that several commands share, and how options are declared and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ganforge.cli.completion import complete_data, complete_part, complete_run
from ganforge.contract.errors import OptionError
from ganforge.core.device import DEVICES

NETWORK, DATA, LENGTH, RUN, COMPUTING = "Networks and losses", "Data", "Length", "Run", "Computing"
"""Panels of the help text."""

MAX_DRAWN = 100_000
"""Maximum images in one picture or animation."""

MAX_MEASURED = 10_000_000
"""Maximum images of a measurement."""


def option(
    flag: str,
    text: str,
    metavar: str | None = None,
    panel: str | None = None,
    complete: Callable[[str], Any] | None = None,
    read: Callable[[Any], Any] | None = None,
) -> Any:
    """Declare an option that takes a value."""
    return typer.Option(flag, help=text, metavar=metavar, rich_help_panel=panel, autocompletion=complete, parser=read)


def number(
    flag: str,
    text: str,
    metavar: str = "N",
    panel: str | None = None,
    *,
    kind: type[Any] = int,
    least: float | None = None,
    most: float | None = None,
) -> Any:
    """Declare an option that takes a number such as ``500k`` within limits."""
    return option(flag, text, metavar, panel, read=lambda value: read_number(value, kind, flag, least, most))


def read_number(value: Any, kind: type[Any], flag: str, least: float | None = None, most: float | None = None) -> Any:
    """Read a number within limits; raise OptionError if it is none."""
    from ganforge.plugins.options import coerce

    found = coerce(value, kind, flag)
    if least is not None and found < least:
        raise OptionError(f"{flag}: {value} is too small", f"the least is {least}")
    if most is not None and found > most:
        raise OptionError(f"{flag}: {value} is too large", f"the most is {most}")
    return found


def switch(flag: str, text: str, panel: str | None = None) -> Any:
    """Declare an option that takes no value."""
    return typer.Option(flag, help=text, rich_help_panel=panel)


def argument(metavar: str, text: str, complete: Callable[[str], Any] | None = None) -> Any:
    """Declare a positional argument."""
    return typer.Argument(metavar=metavar, help=text, show_default=False, autocompletion=complete)


def part_option(flag: str, kind: str, text: str, metavar: str = "NAME", panel: str = NETWORK) -> Any:
    """Declare an option that names a part of a kind."""
    return option(flag, text, metavar, panel, complete_part(kind))


Run = Annotated[str | None, argument("RUN", "Run: folder, name or number. Default: the newest.", complete_run)]
Network = Annotated[str, option("--network", "Further generator of the recipe. Default: its main generator.", "NAME")]
Out = Annotated[Path, option("--out", "Folder of all runs.", "FOLDER")]
Seed = Annotated[int, number("--seed", "Seed of the first image; incremented per image.", least=0)]
Gpus = Annotated[
    int | None,
    number("--gpus", "Number of GPUs, or of processes with --device cpu. Default: 1.", panel=COMPUTING, least=1),
]
Device = Annotated[str, option("--device", "Compute device.", "|".join(DEVICES))]
NoMarking = Annotated[bool, switch("--no-marking", "Omit the metadata that mark pictures as generated.")]
Json = Annotated[bool, switch("--json", "Print one JSON object.")]
SkipBad = Annotated[bool, switch("--skip-bad", "Skip unreadable images, at most 10 %.", DATA)]
Classifier = Annotated[
    Path | None, option("--classifier", "Classifier of the data. Default: train one and cache it.", "FILE")
]

Arch = Annotated[str | None, part_option("--arch", "recipe", "Recipe, e.g. dcgan or mlp. Default: rpgan.", "RECIPE")]
Loss = Annotated[str | None, part_option("--loss", "loss", "Loss, e.g. minimax or nonsat. Default: the recipe's.")]
Reg = Annotated[
    list[str] | None,
    part_option("--reg", "regularizer", "Add a regularizer. Repeatable.", "NAME[:weight=W,every=K]"),
]
Augment = Annotated[
    list[str] | None,
    part_option(
        "--augment",
        "augmentation",
        "Augment real and generated examples before the discriminator. Repeatable.",
        "NAME[:probability=P]",
    ),
]
Callback = Annotated[
    list[str] | None,
    part_option("--callback", "callback", "Add a callback, e.g. early-stop. Repeatable.", "NAME[:option=value]", RUN),
]
Setting = Annotated[
    list[str] | None, option("--set", "Set any option of any part. Repeatable.", "PART.OPTION=VALUE", NETWORK)
]
Config = Annotated[Path | None, option("--config", "Read a TOML file, or the config.json of a run.", "FILE", NETWORK)]
Source = Annotated[
    str | None,
    option("--data", "Folder, zip, .npy, or data set, e.g. avatars or mnist.", "PATH|NAME", DATA, complete_data),
]
Resolution = Annotated[
    str | None, option("--resolution", "Edge length of the images in pixels, or WIDTHxHEIGHT.", "SIZE", DATA)
]
DataResolution = Annotated[
    str | None,
    option(
        "--resolution",
        "Edge length in pixels, or WIDTHxHEIGHT. Default: the size that all images share, else 64.",
        "SIZE",
    ),
]
Batch = Annotated[
    str | None, option("--batch", "Batch size in images. Default: the recipe's, e.g. dcgan 128 on CUDA.", "N", DATA)
]
TrainingDevice = Annotated[
    str | None, option("--device", "Compute device. Default: auto.", "|".join(DEVICES), COMPUTING)
]
Engine = Annotated[
    str | None,
    option(
        "--engine",
        "Execution of steps; auto measures which is fastest. Default: auto.",
        "auto|eager|compile|graph",
        COMPUTING,
    ),
]
Precision = Annotated[
    str | None,
    option("--precision", "Compute precision of the networks. Default: auto.", "auto|float32|bfloat16", COMPUTING),
]


def given_options(context: typer.Context) -> dict[str, Any]:
    """Return the value of each option by flag, without those that are None, False or empty lists."""
    values = {each.opts[0]: context.params.get(str(each.name)) for each in context.command.params}
    return {
        flag: value
        for flag, value in values.items()
        if value is not None and value is not False and value not in ([], ())
    }


def config_flags(context: typer.Context) -> dict[str, Any]:
    """Return the configuration tree that flags of `CONFIG_KEYS` set; ``--no-...`` sets false."""
    from ganforge.config.sources import CONFIG_KEYS, nest

    given = {flag: not flag.startswith("--no-") and value for flag, value in given_options(context).items()}
    return nest({CONFIG_KEYS[flag]: value for flag, value in given.items() if flag in CONFIG_KEYS})
