"""``ganforge report``: a run, or several, as one page to look at and to send."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganforge.cli.common import OutOption, open_registry
from ganforge.cli.completion import complete_run
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Runs: folder, name or number. The newest if left out.",
            show_default=False,
            autocompletion=complete_run,
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            metavar="FILE",
            help="The .html file; report.html in the run if left out, of several in the folder of all runs.",
            show_default=False,
        ),
    ] = None,
    out: OutOption = Path("runs"),
) -> None:
    """Write one HTML file with the training as a slider, curves with what they mean, samples, numbers and commands.

    It holds all that it shows, so it can be sent and is read without a network. Several runs stand side by side.
    """
    from ganforge.report import FILE, write_report
    from ganforge.runs.folder import RunFolder

    names: list[str | None] = [*runs] if runs else [None]
    folders = [RunFolder.find(each, out) for each in names]
    if not runs:
        say(f"run: {folders[0].path}")
    target = to or (folders[0].path if len(folders) == 1 else out) / FILE
    if target.suffix not in (".html", ".htm"):
        raise OptionError(f"--to {target}: a report is an .html file", f"such as {target.with_suffix('.html')}")
    write_report(folders, target, open_registry())
    print_result(str(target))
