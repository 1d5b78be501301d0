"""``ganforge export``: files for programs that know nothing of ganforge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import OutOption, RunArgument, open_registry
from ganforge.cli.completion import complete_part
from ganforge.cli.runs import find_weights, open_generator
from ganforge.contract.errors import OptionError, nearest
from ganforge.core.console import print_result, say

if TYPE_CHECKING:
    from ganforge.contract.exporter import Exporter

DEFAULT = "torchscript"
"""The format where none is named."""


def export(
    run: RunArgument = None,
    torchscript: Annotated[
        bool, typer.Option("--torchscript", help="A TorchScript file, for C++ and Python; so without any format.")
    ] = False,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="An ONNX graph, for ONNX Runtime and browsers. Needs ganforge\\[onnx].")
    ] = False,
    pt2: Annotated[
        bool, typer.Option("--pt2", help="Native code by AOTInductor, for processors like this. Needs a C++ compiler.")
    ] = False,
    safetensors: Annotated[bool, typer.Option("--safetensors", help="Weights and description, no code.")] = False,
    cpp_project: Annotated[
        Path | None,
        typer.Option("--cpp-project", metavar="DIR", help="A CMake project that draws images.", show_default=False),
    ] = None,
    web: Annotated[
        Path | None,
        typer.Option(
            "--web",
            metavar="DIR",
            help="A page that draws images in a browser. Needs ganforge\\[onnx].",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="An exporter of any plugin. Repeatable.",
            show_default=False,
            autocompletion=complete_part("exporter"),
        ),
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
    flags = {"torchscript": torchscript, "onnx": onnx, "pt2": pt2, "safetensors": safetensors}
    folders = {name: folder for name, folder in (("cpp-project", cpp_project), ("web", web)) if folder is not None}
    files = [name for name, is_asked in flags.items() if is_asked] + (formats or [])
    names = list(dict.fromkeys([*files, *folders])) or [DEFAULT]
    exporters = make_exporters(names, settings or [])
    weights = find_weights(run, out)
    free = {name: exporter for name, exporter in exporters.items() if name not in folders}
    targets = choose_targets(free, to, weights.parent / "export") | folders

    import torch

    from ganforge.plugins.part_errors import part_errors

    generator, card = open_generator(weights, torch.device("cpu"))
    for name, exporter in exporters.items():
        with part_errors("exporter", name):
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
    from ganforge.config.sources import parse_setting

    options: dict[str, dict[str, Any]] = {name: {} for name in names}
    for text in settings:
        ((name, given),) = parse_setting(text).items()
        if name not in options:
            raise OptionError(f"--set {text}: '{name}' is not exported to", nearest(name, names))
        options[name] |= given
    registry = open_registry()
    return {name: registry.build("exporter", name, options[name]) for name in names}


def choose_targets(exporters: dict[str, Exporter], to: Path | None, folder: Path) -> dict[str, Path]:
    """The file of each format; of some formats it is a folder.

    Args:
        exporters: By name.
        to: What the user asked for: a folder, or the file if there is one format; None for the default.
        folder: The default.

    Raises:
        OptionError: A file with another ending than that of its format, or one for several formats or for none.
    """
    if to is not None and not exporters:
        raise OptionError(f"--to {to}: no format is asked for whose place it could be", "add --torchscript")
    targets = {name: (to or folder) / f"generator{exporter.suffix}" for name, exporter in exporters.items()}
    of_files = {name: exporter for name, exporter in exporters.items() if exporter.suffix.startswith(".")}
    if to is not None and to.suffix and of_files and not to.is_dir():
        (name, exporter), *others = of_files.items()
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
