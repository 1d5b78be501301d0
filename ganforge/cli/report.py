"""``ganforge report``: an HTML page of one or several runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from ganforge.cli.common import open_registry
from ganforge.cli.completion import complete_run
from ganforge.cli.options import Out, argument, option
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result, say


def report(
    runs: Annotated[
        list[str] | None, argument("RUN", "Runs: folder, name or number. Default: the newest.", complete_run)
    ] = None,
    to: Annotated[
        Path | None,
        option("--to", "HTML file. Default: report.html in the run, or in the folder of all runs for several.", "FILE"),
    ] = None,
    out: Out = Path("runs"),
) -> None:
    """Write one HTML file with training samples, curves, evaluations, settings and commands.

    The file is self-contained and works offline. Several runs are shown side by side.
    """
    from ganforge.report import FILE, write_report
    from ganforge.runs.folder import RunFolder
    from ganforge.runs.shipped import output_folder

    names: list[str | None] = [*runs] if runs else [None]
    folders = [RunFolder.find(each, out) for each in names]
    if not runs:
        say(f"run: {folders[0].path}")
    target = to or (output_folder(folders[0].path, out) if len(folders) == 1 else out) / FILE
    if target.suffix not in (".html", ".htm"):
        raise OptionError(f"--to {target}: a report is an .html file", f"such as {target.with_suffix('.html')}")
    write_report(folders, target, open_registry(), out)
    print_result(str(target))
