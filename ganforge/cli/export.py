"""``ganforge export``: one file for programs that know nothing of ganforge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import OutOption, RunArgument, print_result, say
from ganforge.cli.runs import find_weights, open_generator
from ganforge.errors import OptionError


def export(
    run: RunArgument = None,
    torchscript: Annotated[bool, typer.Option("--torchscript", help="A TorchScript file, for C++ and Python.")] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FILE", help="By default export/generator.pt in the run.", show_default=False),
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Export a run's generator and prove that the file does what the network did."""
    if not torchscript:
        raise OptionError("no format was named", "--torchscript is the one there is")
    weights = find_weights(run, out)
    target = to or weights.parent / "export" / "generator.pt"
    if target.suffix != ".pt" or target.is_dir():
        raise OptionError(f"--to {target}: a TorchScript file ends in .pt", f"such as {target.with_suffix('.pt')}")

    import torch

    from ganforge.export.torchscript import export_torchscript

    generator, card = open_generator(weights, torch.device("cpu"))
    report = export_torchscript(generator, card, target)
    say(
        f"equal to the network within {report.worst_difference:.1e} on {report.num_examples} outputs, "
        f"as loaded by a process without ganforge"
    )
    print_result(str(target))
