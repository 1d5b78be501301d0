"""``ganforge init``: write a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import open_registry
from ganforge.cli.options import (
    Arch,
    Augment,
    Batch,
    Loss,
    Reg,
    Resolution,
    Setting,
    Source,
    config_flags,
)
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say


def init(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("ganforge.toml"),
    arch: Arch = None,
    loss: Loss = None,
    reg: Reg = None,
    augment: Augment = None,
    setting: Setting = None,
    source: Source = None,
    resolution: Resolution = None,
    batch: Batch = None,
) -> None:
    """Write a commented TOML file with every setting, for ganforge train --config."""
    from ganforge.config.schema import merge_recipe, resolve
    from ganforge.config.sources import load_layers, merge
    from ganforge.config.toml_writer import write_toml
    from ganforge.core.atomic_files import write_bytes

    if file.suffix != ".toml":
        raise OptionError(f"{file}: a configuration is a .toml file", f"such as {file.with_suffix('.toml')}")
    if file.exists():
        raise OptionError(f"{file}: already exists", "remove it, or give another name")
    layers = load_layers(None, config_flags(context), reg or [], setting or [], augment or [])
    registry = open_registry()
    config = resolve(registry, *layers)
    tree = merge({"data": {"source": config.data.source}}, merge_recipe(registry, *layers)[1])
    write_bytes(file, write_toml(config, tree, registry, file.name).encode())
    say(f"next: ganforge train --config {file}")
    print_result(str(file))
