"""``ganforge init``: a configuration file to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import open_registry
from ganforge.cli.completion import complete_data
from ganforge.cli.recipe import (
    DATA,
    ArchOption,
    AugmentOption,
    BatchOption,
    LossOption,
    RegOption,
    ResolutionOption,
    SettingOption,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("ganforge.toml"),
    arch: ArchOption = None,
    loss: LossOption = None,
    reg: RegOption = None,
    augment: AugmentOption = None,
    setting: SettingOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="PATH|NAME",
            help="A path or a data set.",
            rich_help_panel=DATA,
            autocompletion=complete_data,
        ),
    ] = None,
    resolution: ResolutionOption = None,
    batch: BatchOption = None,
) -> None:
    """Write a commented TOML file with every setting, for ganforge train --config."""
    from ganforge.config.schema import merge_recipe, resolve
    from ganforge.config.sources import load_layers, merge, nest
    from ganforge.config.toml_writer import write_toml
    from ganforge.core.atomic_files import write_bytes

    if file.suffix != ".toml":
        raise OptionError(f"{file}: a configuration is a .toml file", f"such as {file.with_suffix('.toml')}")
    if file.exists():
        raise OptionError(f"{file}: is there already", "remove it, or give another name")
    flags = {
        "recipe": arch,
        "data.source": source,
        "data.resolution": resolution,
        "loss.name": loss,
        "training.batch": batch,
    }
    given = nest({key: value for key, value in flags.items() if value is not None})
    layers = load_layers(None, given, reg or [], setting or [], augment or [])
    registry = open_registry()
    config = resolve(registry, *layers)
    tree = merge({"data": {"source": config.data.source}}, merge_recipe(registry, *layers)[1])
    write_bytes(file, write_toml(config, tree, registry, file.name).encode())
    say(f"next: ganforge train --config {file}")
    print_result(str(file))
