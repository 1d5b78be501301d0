"""Options that name a recipe and how its steps are computed; those that `train` and `bench` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.completion import complete_part

NETWORK, DATA, COMPUTING = "The recipe", "On what", "How steps are computed"

ArchOption = Annotated[
    str | None,
    typer.Option(
        "--arch",
        metavar="RECIPE",
        help="Recipe, such as dcgan or mlp. Default: rpgan.",
        rich_help_panel=NETWORK,
        autocompletion=complete_part("recipe"),
    ),
]
LossOption = Annotated[
    str | None,
    typer.Option(
        "--loss",
        metavar="NAME",
        help="minimax, nonsat ...",
        rich_help_panel=NETWORK,
        autocompletion=complete_part("loss"),
    ),
]
RegOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reg",
        metavar="NAME[:weight=W,every=K]",
        help="Add a penalty. Repeatable.",
        rich_help_panel=NETWORK,
        autocompletion=complete_part("regularizer"),
    ),
]
AugmentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--augment",
        metavar="NAME[:probability=P]",
        help="Change all examples before they are judged. Repeatable.",
        rich_help_panel=NETWORK,
        autocompletion=complete_part("augmentation"),
    ),
]
SettingOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="PART.OPTION=VALUE", help="Any option of any part. Repeatable.", rich_help_panel=NETWORK
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="TOML, or a run's config.json.", rich_help_panel=NETWORK),
]
ResolutionOption = Annotated[
    str | None, typer.Option("--resolution", metavar="PIXELS", help="Edge of the images.", rich_help_panel=DATA)
]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch", metavar="N", help="Images per step. dcgan: 128 on CUDA, 16 on a CPU.", rich_help_panel=DATA
    ),
]
ComputingDeviceOption = Annotated[
    str | None, typer.Option("--device", metavar="auto|cuda|cpu", help="Where to train.", rich_help_panel=COMPUTING)
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="auto|eager|compile|graph",
        help="How steps are computed; auto measures what is quickest here.",
        rich_help_panel=COMPUTING,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision", metavar="auto|float32|bfloat16", help="Numbers that networks run in.", rich_help_panel=COMPUTING
    ),
]
