"""Steps that most commands begin with: the registry of parts, the run, its generator."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ganforge.core.console import say

if TYPE_CHECKING:
    import torch

    from ganforge.contract.networks import Generator
    from ganforge.core.distributed import Workers
    from ganforge.plugins.registry import Registry
    from ganforge.runs.folder import RunFolder


class _PlainHelp:
    """Shows options that take no value without a type."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)  # type: ignore[misc]
        for each in params:
            if getattr(each, "is_flag", False):
                each.metavar = ""
        return params


class _Command(_PlainHelp, TyperCommand):
    pass


class HelpGroup(_PlainHelp, TyperGroup):
    """A group of commands that shows no type for options without a value."""


class CommandGroup(typer.Typer):
    """A group of commands with `_PlainHelp`."""

    def __init__(self, kind: type[HelpGroup] = HelpGroup, **options: Any) -> None:
        super().__init__(cls=kind, no_args_is_help=True, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        return super().command(name, cls=_Command, **options)


@dataclass
class GlobalOptions:
    """Options that may stand before or after the command.

    Attributes:
        plugins: Files of ``--plugin``.
        disabled: Names of ``--disable``.
        arguments: The whole command line, with which worker processes are started.
    """

    plugins: list[Path] = field(default_factory=list)
    disabled: list[str] = field(default_factory=list)
    arguments: list[str] = field(default_factory=list)


global_options = GlobalOptions()


def open_registry() -> Registry:
    """Return the parts of installed plugins and ``--plugin`` files, without those that ``--disable`` names."""
    from ganforge.plugins.loading import load_plugins
    from ganforge.plugins.registry import Registry

    return Registry(load_plugins(global_options.plugins, global_options.disabled))


def find_weights(run: str | None, out: Path, network: str = "") -> Path:
    """Return the ``generator.safetensors`` of a run, or the file itself; print the run if none is named.

    With `network`, return the file of a further generator of the recipe.

    Raises:
        OptionError: The run is not found.
        CheckpointError: The run has saved no generator yet.
    """
    from ganforge.runs.folder import RunFolder

    if run is not None and run.endswith(".safetensors") and not network:
        return Path(run)
    folder = RunFolder.find(run, out)
    if run is None:
        say(f"run: {folder.path}")
    return folder.find_generator(network)


def share_run(workers: Workers, run: str | None, out: Path, data: str | None) -> tuple[RunFolder, dict[str, Any]]:
    """Find a run to resume and read its configuration in the main process; others need not see its directory.

    Args:
        workers: Processes of the run.
        run: Its path, name or number; None for the newest.
        out: Directory of all runs.
        data: Value of ``--data``, or None.
    """
    from ganforge.runs.folder import RunFolder

    def find() -> bytes:
        folder = RunFolder.find(run, out)
        folder.confirm_data(data)
        return json.dumps([str(folder.path), folder.read_config()]).encode()

    path, config = json.loads(workers.on_main(find))
    return RunFolder(Path(path)), config


def open_generator(weights: Path, device: torch.device) -> tuple[Generator, dict[str, Any]]:
    """Return a generator on a device, and its card."""
    from ganforge.runs.checkpoint import load_generator

    generator, card = load_generator(weights, open_registry())
    return generator.to(device), card
