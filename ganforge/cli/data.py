"""``ganforge data``: look at images before training, and pack them once."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganforge.cli.common import JsonOption, open_registry
from ganforge.core.console import print_result, progress_bar, say

if TYPE_CHECKING:
    from ganforge.data.check import DataReport

SkipBadOption = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, one in ten at most.")
]

SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.OPTION=VALUE",
        help="An option of the data set, as in data.split=test. Repeatable.",
        show_default=False,
    ),
]

app = typer.Typer(no_args_is_help=True, help="Look at images before training, and pack them once.")


@app.command()
def check(
    source: Annotated[str, typer.Argument(help="A path, or the name of a data set.", show_default=False)],
    skip_bad: SkipBadOption = False,
    settings: SettingsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every example, and say what training would do, and how to begin. Leaves with code 2 if it could not."""
    from ganforge.contract.errors import DataError
    from ganforge.data.advice import advise
    from ganforge.data.check import check_data

    options = _parse_options(settings or [])
    with progress_bar(f"reading {source}") as progress:
        report = check_data(source, progress, skip_bad, options=options, registry=open_registry())
    advice = advise(report, skip_bad) if report.usable else None
    if as_json:
        found = {"usable": report.usable, **asdict(report), "advice": asdict(advice) if advice else None}
        print_result(json.dumps(found, indent=2))
        raise typer.Exit(0 if report.usable else 2)
    for line in _lines(report) + (_listed("advice", [*advice.words]) if advice and advice.words else []):
        print_result(line)
    if advice:
        print_result(f"next       {advice.command}")
    if not report.usable:
        raise DataError(report.problem, report.hint)


@app.command()
def pack(
    source: Annotated[str, typer.Argument(help="What to pack: a path, or the name of a data set.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="A folder that does not exist yet.", show_default=False)],
    resolution: Annotated[
        int | None,
        typer.Option(help="Pixels along an edge. If left out, the size that all images share, else 64."),
    ] = None,
    skip_bad: SkipBadOption = False,
    settings: SettingsOption = None,
) -> None:
    """Decode, crop and resize once, into a folder that --data takes and that opens at once."""
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
    classes += f" with sources {list(data.spec.source_shape)}" if data.sources else ""
    print_result(f"{out}: {len(data)} examples {list(data.spec.shape)}{classes}, fingerprint {data.fingerprint[:12]}")


def _parse_options(settings: list[str]) -> dict[str, Any]:
    """Options of the data set by name."""
    from ganforge.config.sources import parse_setting
    from ganforge.contract.errors import OptionError

    options: dict[str, Any] = {}
    for text in settings:
        ((section, given),) = parse_setting(text).items()
        if section != "data":
            raise OptionError(f"--set {text}: only the data set has options here", "such as --set data.split=test")
        options |= given
    return options


_MOST_LINES = 10


def _lines(report: DataReport) -> list[str]:
    """A report for reading."""
    lines = [f"{report.path}: {report.kind}, {report.count} examples"]
    for title, counts in (("sizes", report.sizes), ("modes", report.modes), ("classes", report.classes)):
        shown = [f"{name}: {count}" for name, count in list(counts.items())[:_MOST_LINES]]
        rest = [f"and {len(counts) - _MOST_LINES} more"] if len(counts) > _MOST_LINES else []
        lines.append(f"{title:<11}{', '.join(shown + rest) or 'none'}")
    if len(report.classes) > 1:
        lines.append(f"{'':<11}from {min(report.classes.values())} to {max(report.classes.values())} examples a class")
    lines += _listed("duplicates", [" = ".join(group) for group in report.duplicates])
    lines += _listed("unreadable", [f"{name}: {reason}" for name, reason in report.unreadable.items()])
    return [*lines, f"training   {report.training}"] if report.usable else lines


def _listed(title: str, entries: list[str]) -> list[str]:
    """A line an entry, not too many, with the title before the first."""
    shown = entries[:_MOST_LINES] or ["none"]
    if len(entries) > _MOST_LINES:
        shown.append(f"and {len(entries) - _MOST_LINES} more; --json lists all")
    return [f"{title:<11}{shown[0]}", *(f"{'':<11}{entry}" for entry in shown[1:])]
