"""``ganforge runs``: runs and shipped generators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ganforge.cli.options import Json, Out
from ganforge.core.console import print_result

if TYPE_CHECKING:
    from ganforge.runs.summary import Summary


MOST = 300
"""Maximum characters of a cell."""


def runs(as_json: Json = False, out: Out = Path("runs")) -> None:
    """List the generators that come with ganforge and all runs: state, images, training time, best score, size and
    newest picture.

    A run is running, finished, stopped before its budget is spent, imported, or damaged.
    """
    from ganforge.runs.summary import summarize_runs

    found = summarize_runs(out)
    if as_json:
        import msgspec

        print_result(json.dumps({"runs": msgspec.to_builtins(found)}, indent=2))
        return
    headings = ("run", "state", "images", "time", "best score", "size", "picture")
    lines = [headings, *map(_describe, found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [
            cell.rjust(width) if heading in ("images", "time", "size") else cell.ljust(width)
            for heading, cell, width in zip(headings, line, widths, strict=True)
        ]
        print_result("  ".join(cells).rstrip())


def _describe(run: Summary) -> tuple[str, ...]:
    """Return the cells of a run's line."""
    from ganforge.core.text import escape_controls

    minutes, seconds = divmod(round(run.seconds or 0), 60)
    cells = (
        run.name,
        run.state,
        "-" if run.images is None else f"{run.images:,}",
        "-" if run.seconds is None else f"{minutes // 60}:{minutes % 60:02}:{seconds:02}",
        "-" if run.best is None else f"{run.best.metric[:MOST]} {run.best.value:.4g}",
        f"{run.num_bytes / 1e6:,.1f} MB",
        run.problem or run.picture or "-",
    )
    return tuple(escape_controls(cell)[:MOST] for cell in cells)
