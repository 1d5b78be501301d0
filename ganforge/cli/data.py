"""``ganforge data``: check and pack training data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import CommandGroup, open_registry
from ganforge.cli.options import DataResolution, Json, argument, option, switch
from ganforge.core.console import print_result, progress_bar, say

if TYPE_CHECKING:
    from ganforge.data.check import DataReport

SkipBad = Annotated[bool, switch("--skip-bad", "Skip unreadable images, at most 10 %.")]
Settings = Annotated[
    list[str] | None,
    option("--set", "Data set option, e.g. data.split=test. Repeatable.", "data.OPTION=VALUE"),
]

app = CommandGroup(help="Check and pack training data.")


@app.command()
def check(
    source: Annotated[str, argument("SOURCE", "Path, or name of a data set.")],
    resolution: DataResolution = None,
    skip_bad: SkipBad = False,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Read every example, report problems, and suggest a training command. Exit code 2 if training is impossible.

    With --set data.sources=SOURCE, read unpaired source images, too.
    """
    from ganforge.config.data import take_sources
    from ganforge.contract.errors import DataError
    from ganforge.data.advice import advise
    from ganforge.data.check import check_data

    options, registry = _parse_options(settings or []), open_registry()
    sources = take_sources(registry, source, options)
    reports = []
    for each, chosen in ((source, options), (sources, {})):
        if each is not None:
            with progress_bar(f"reading {each}") as progress:
                reports.append(
                    check_data(each, progress, skip_bad, resolution=resolution, options=chosen, registry=registry)
                )
    unusable = [report for report in reports if not report.usable]
    advice = None if unusable else advise(reports[0], skip_bad, sources)
    if as_json:
        found = {"usable": not unusable, **asdict(reports[0]), "advice": asdict(advice) if advice else None}
        print_result(json.dumps(found | ({"sources": asdict(reports[1])} if sources else {}), indent=2))
        raise typer.Exit(2 if unusable else 0)
    for line in [line for report in reports for line in _describe(report)]:
        print_result(line)
    for line in _list("advice", [*advice.words]) if advice and advice.words else []:
        print_result(line)
    if advice:
        print_result(f"next       {advice.command}")
    if unusable:
        raise DataError(unusable[0].problem, unusable[0].hint)


@app.command()
def pack(
    source: Annotated[str, argument("SOURCE", "Path, or name of a data set.")],
    out: Annotated[Path, argument("OUT", "Folder that does not exist yet.")],
    resolution: DataResolution = None,
    skip_bad: SkipBad = False,
    settings: Settings = None,
) -> None:
    """Decode, crop and resize once, into a folder that --data opens without decoding."""
    from ganforge.data import pack_data

    options = _parse_options(settings or [])
    with progress_bar(f"packing {source}") as progress:
        data = pack_data(
            source,
            out,
            resolution=resolution,
            options=options,
            registry=open_registry(),
            progress=progress,
            skip_bad=skip_bad,
        )
    if data.note:
        say(data.note)
    classes = f", {len(data.class_names)} classes" if data.class_names else ""
    classes += f", condition vectors of {len(data.number_names)} numbers" if data.number_names else ""
    classes += f" with sources {list(data.spec.source_shape)}" if data.sources else ""
    print_result(f"{out}: {len(data)} examples {list(data.spec.shape)}{classes}, fingerprint {data.fingerprint[:12]}")


def _parse_options(settings: list[str]) -> dict[str, Any]:
    from ganforge.config.sources import parse_setting
    from ganforge.contract.errors import OptionError

    options: dict[str, Any] = {}
    for text in settings:
        ((section, given),) = parse_setting(text).items()
        if section != "data":
            raise OptionError(f"--set {text}: only data options are supported", "such as --set data.split=test")
        options |= given
    return options


_MAX_LINES = 10


def _describe(report: DataReport) -> list[str]:
    lines = [f"{report.path}: {report.kind}, {report.count} examples"]
    for title, counts in (("sizes", report.sizes), ("modes", report.modes), ("classes", report.classes)):
        shown = [f"{name}: {count}" for name, count in list(counts.items())[:_MAX_LINES]]
        rest = [f"and {len(counts) - _MAX_LINES} more"] if len(counts) > _MAX_LINES else []
        lines.append(f"{title:<11}{', '.join(shown + rest) or 'none'}")
    if len(report.classes) > 1:
        lines.append(f"{'':<11}{min(report.classes.values())} to {max(report.classes.values())} examples per class")
    if report.numbers:
        shown = [f"{name}: {low:g} to {high:g}, mean {mean:g}" for name, (low, mean, high) in report.numbers.items()]
        lines += _list("numbers", shown)
    lines += _list("duplicates", [" = ".join(group) for group in report.duplicates])
    lines += _list("unreadable", [f"{name}: {reason}" for name, reason in report.unreadable.items()])
    return [*lines, f"training   {report.training}"] if report.usable else lines


def _list(title: str, entries: list[str]) -> list[str]:
    """Return one line per entry, up to `_MAX_LINES`, with the title before the first."""
    shown = entries[:_MAX_LINES] or ["none"]
    if len(entries) > _MAX_LINES:
        shown.append(f"and {len(entries) - _MAX_LINES} more; --json lists all")
    return [f"{title:<11}{shown[0]}", *(f"{'':<11}{entry}" for entry in shown[1:])]
