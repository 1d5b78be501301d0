"""``ganforge eval compare``: evaluations side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.table import Table

from ganforge.cli.options import Json, Out, argument, option, switch
from ganforge.contract.errors import OptionError
from ganforge.core.console import print_result
from ganforge.core.text import escape_controls

if TYPE_CHECKING:
    from ganforge.evaluation.results.comparability import Agreement, Contender

_EVALUATED = (
    "Evaluated runs (folder, name or number), generator files, folders or zips of images, or evaluations.jsonl files."
)


def compare(
    names: Annotated[list[str], argument("RUN", _EVALUATED)],
    metric: Annotated[list[str] | None, option("--metric", "Compare only this metric. Repeatable.", "NAME")] = None,
    raw: Annotated[bool, switch("--raw", "Compare the trained weights instead of the EMA weights.")] = False,
    as_json: Json = False,
    out: Out = Path("runs"),
) -> None:
    """Compare evaluations that share a protocol; list the differing fields of all others."""
    if len(names) < 2:
        raise OptionError(f"{names[0]}: nothing to compare with", "name two or more")

    from ganforge.evaluation.results.comparability import agree
    from ganforge.evaluation.results.contenders import comparison_tree, open_contenders

    contenders = open_contenders(names, out, raw)
    found = agree(contenders, metric or [])
    if as_json:
        print_result(json.dumps(comparison_tree(contenders, found), indent=2))
        return
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000  # keep lines whole in pipes and files
    console.print(_make_table(contenders, found))
    for line in _describe(found):
        print_result(line)


def _make_table(contenders: Sequence[Contender], found: Agreement) -> Table:
    from ganforge.evaluation.results.formatting import describe_value

    table = Table(box=None)
    for heading in ("metric", "better", *(each.label for each in contenders), "best"):
        table.add_column(escape_controls(heading), overflow="fold")
    for each in found.compared:
        values = [describe_value(each.rows[contender.label]) for contender in contenders]
        table.add_row(*map(escape_controls, (each.metric, each.better or "", *values, each.verdict)))
    return table


def _describe(found: Agreement) -> list[str]:
    """Return protocols, metrics that are not compared and notes, one per line."""
    from ganforge.evaluation.results.contenders import summarize_protocol

    by_protocol: dict[str, list[str]] = {}
    for each in found.compared:
        row = next(iter(each.rows.values()))
        by_protocol.setdefault(summarize_protocol(row), []).append(each.metric)
    alone = len(by_protocol) == 1
    lines = [f"{'protocol' if alone else ', '.join(metrics)}: {words}" for words, metrics in by_protocol.items()]
    lines += [f"not compared: {each.describe()}" for each in found.refused]
    return ["", *lines, *(f"note: {note}" for note in found.notes)]
