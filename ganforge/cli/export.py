"""``ganforge export``: files for programs that know nothing of ganforge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import OutOption, RunArgument, open_registry, print_result, say
from ganforge.cli.runs import find_weights, open_generator
from ganforge.errors import OptionError, nearest

if TYPE_CHECKING:
    from ganforge.exporter import Exporter

DEFAULT = "torchscript"
"""The format where none is named."""


def export(
    run: RunArgument = None,
    torchscript: Annotated[
        bool, typer.Option("--torchscript", help="A TorchScript file, for C++ and Python; so without any format.")
    ] = False,
    safetensors: Annotated[bool, typer.Option("--safetensors", help="Weights and description, no code.")] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="NAME", help="An exporter of any plugin. Repeatable.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME.OPTION=VALUE",
            help="An exporter's option, as in torchscript.precision=bfloat16. Repeatable.",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="PATH",
            help="A folder, or for one format a file. By default export/ in the run.",
            show_default=False,
        ),
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Export a run's generator to one or several formats, and prove that each file is what the network was."""
    names = ["torchscript"] * torchscript + ["safetensors"] * safetensors + (formats or [])
    names = list(dict.fromkeys(names)) or [DEFAULT]
    exporters = make_exporters(names, settings or [])
    weights = find_weights(run, out)
    targets = choose_targets(exporters, to, weights.parent / "export")

    import torch

    generator, card = open_generator(weights, torch.device("cpu"))
    for name, exporter in exporters.items():
        report = exporter.export(generator, card, targets[name])
        say(
            f"{name}: equal to the network within {report.worst_difference:.1e} on {report.num_examples} "
            f"{report.compared}"
        )
        print_result(str(report.path))


def make_exporters(names: list[str], settings: list[str]) -> dict[str, Exporter]:
    """The exporters of these names with their options.

    Raises:
        OptionError: An unknown name or option, or an option of an exporter that is not asked for.
    """
    from ganforge.settings import parse_setting

    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in settings:
        ((name, given),) = parse_setting(text).items()
        if name not in options:
            raise OptionError(f"--set {text}: '{name}' is not exported to", nearest(name, names))
        options[name] |= given
    registry = open_registry()
    return {name: registry.build("exporter", name, options[name]) for name in names}


def choose_targets(exporters: dict[str, Exporter], to: Path | None, folder: Path) -> dict[str, Path]:
    """The file of each format.

    Args:
        exporters: By name.
        to: What the user asked for: a folder, or the file if there is one format; None for the default.
        folder: The default.

    Raises:
        OptionError: A file with another ending than that of its format, or one for several formats.
    """
    targets = {name: (to or folder) / f"generator{exporter.suffix}" for name, exporter in exporters.items()}
    if to is not None and to.suffix and not to.is_dir():
        (name, exporter), *others = exporters.items()
        if others:
            raise OptionError(f"--to {to}: several formats need a folder", f"such as {to.with_suffix('')}")
        if to.suffix != exporter.suffix:
            raise OptionError(
                f"--to {to}: a file of the format '{name}' ends in {exporter.suffix}",
                f"such as {to.with_suffix(exporter.suffix)}",
            )
        targets[name] = to
    if len(set(targets.values())) < len(targets):
        raise OptionError(f"{' and '.join(targets)} would write the same file", "export them one at a time with --to")
    return targets
