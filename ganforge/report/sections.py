"""Sections of the page, each a function from runs to HTML; empty without content."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.contract.errors import DataError
from ganforge.core.text import escape_html as escape
from ganforge.data.decode import read_picture
from ganforge.report.markup import listing, moment, section, table, wide
from ganforge.report.pictures import Frame, embed, figure
from ganforge.report.reading import RunData
from ganforge.report.summary import plan_resume


def warnings_section(runs: Sequence[RunData]) -> str:
    """Return health warnings and read errors."""
    items = []
    for run in runs:
        of = f"{run.name}: " if len(runs) > 1 else ""
        items += [f"{of}after {images:,} images: {text}" for images, text in run.warnings]
        items += [f"{of}{text}" for text in run.problems]
    return section("Warnings", f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in items)}</ul>" if items else "")


def training_section(runs: Sequence[RunData], frames: Sequence[Sequence[Frame]], reals: Sequence[str]) -> str:
    """Return a slider over sample grids of the same seeds, runs side by side, and figures of real examples."""
    if not any(frames):
        return ""
    places = sorted({frame.images for own in frames for frame in own})
    figures = []
    for number, (run, own) in enumerate(zip(runs, frames, strict=True)):
        if own:
            name = f" of {run.name}" if len(runs) > 1 else ""
            figures.append(
                f'<figure><img class="grid" id="grid-{number}" src="{own[-1].data}" '
                f'alt="Samples{escape(name)} after {own[-1].images:,} images">'
                f'<figcaption id="grid-{number}-caption">{escape(run.name)}, after {own[-1].images:,} images'
                "</figcaption></figure>"
            )
    figures += reals
    # The last grid of each run is in the page already.
    listed = [[[frame.images, None if frame is own[-1] else frame.data] for frame in own] for own in frames]
    data = json.dumps(listed).replace("</", "<\\/")
    control = (
        f'<div class="player" hidden><button type="button" id="play" aria-pressed="false">Play</button>'
        f'<label for="time">Images seen</label><input type="range" id="time" min="0" max="{len(places) - 1}" '
        f'value="{len(places) - 1}" aria-describedby="time-value">'
        f'<output id="time-value" for="time">{places[-1]:,}</output></div>'
        if len(places) > 1
        else ""
    )
    words = (
        "<p>All grids have the same latents. If samples change into one another late, or all look alike, check the "
        "curves below.</p>"
    )
    fewer = [
        f"{len(own)} of {len(run.grids)} grids{f' of {run.name}' if len(runs) > 1 else ''}"
        for run, own in zip(runs, frames, strict=True)
        if len(own) < len(run.grids)
    ]
    if fewer:
        words += f"<p>Shown, evenly spaced: {escape(', '.join(fewer))}.</p>"
    return section(
        "Training",
        f'{words}{control}<div class="columns">{"".join(figures)}</div>'
        f'<script type="application/json" id="frames">{data}</script>',
    )


def samples_section(run: RunData, figures: Sequence[str], named: bool) -> str:
    """Return figures of a run's samples, below its name if there are several runs."""
    if not figures:
        return ""
    title = f"<h3>{escape(run.name)}</h3>" if named else ""
    return f'{title}<div class="columns">{"".join(figures)}</div>'


def nearest_section(runs: Sequence[RunData]) -> str:
    """Return pictures of samples and their nearest training images."""
    figures = []
    for run in runs:
        if run.nearest is not None:
            try:
                data = embed(read_picture(run.nearest))
            except (DataError, OSError, ValueError) as error:
                figures.append(f"<p>{escape(error)}</p>")
                continue
            figures.append(
                wide(figure(data, f"Samples of {run.name} and their nearest training images", run.name), run.name)
            )
    words = (
        "<p>On the left are the samples nearest to training images, copies first; on the right typical samples. Each "
        "is followed by its nearest training images. Similar images are not copies, equal images are.</p>"
    )
    return section("Nearest neighbors", words + "".join(figures) if figures else "")


def settings_section(runs: Sequence[RunData]) -> str:
    """Return the configuration: the differences between runs, then each in full."""
    flat = [_flatten(run.config) for run in runs]
    names = list(dict.fromkeys(name for each in flat for name in each))
    parts = []
    if len(runs) > 1:
        rows = [
            [name, *(_plain(each.get(name, "")) for each in flat)]
            for name in names
            if len({json.dumps(each.get(name)) for each in flat}) > 1
        ]
        head = ["setting", *(run.name for run in runs)]
        parts.append(table(head, rows, "Differences") or "<p>All settings are equal.</p>")
    for run, each in zip(runs, flat, strict=True):
        rows = [[name, _plain(value)] for name, value in each.items()]
        title = f"All settings of {run.name}" if len(runs) > 1 else "All settings"
        parts.append(f"<details><summary>{escape(title)}</summary>{table(['setting', 'value'], rows, title)}</details>")
    return section("Configuration", "".join(parts))


def provenance_section(runs: Sequence[RunData]) -> str:
    """Return the origin of the weights, and the device, machine and software of each start or resume."""
    rows = []
    for run in runs:
        for each in run.sessions:
            versions = {**each.versions, **each.plugins}
            rows.append(
                [
                    f"{run.name}, from {each.images:,} images",
                    moment(each.began),
                    f"{each.device}, {_processes(each.processes)}{each.plan}",
                    f"{each.cores or '?'} cores, {each.platform}, Python {each.python}",
                    ", ".join(f"{name} {version}" for name, version in versions.items()),
                ]
            )
    names = dict.fromkeys(name for run in runs for name in run.origin)
    origin = [[name.replace("_", " "), *(run.origin.get(name, "") for run in runs)] for name in names]
    head = ["weights", *(run.name if len(runs) > 1 else "value" for run in runs)]
    return section(
        "Provenance",
        table(head, origin, "License and origin of the weights")
        + table(["session", "began", "device", "machine", "software"], rows, "Sessions"),
    )


def commands_section(runs: Sequence[RunData]) -> str:
    """Return commands to repeat, resume, sample, evaluate and export each run."""
    blocks = []
    for run in runs:
        path = shlex.quote(str(run.folder.path))
        commands = [
            ("repeat", f"ganforge train --config {path}/config.json"),
            ("resume", plan_resume(run)[0]),
            ("sample", f"ganforge sample {path} --count 64"),
            ("evaluate", f"ganforge eval {path} --all"),
            ("export to C++", f"ganforge export {path} --torchscript"),
        ]
        title = f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else ""
        lines = "\n".join(f"{command}  # {words}" for words, command in commands)
        blocks.append(f"{title}{listing(lines)}")
    return section("Commands", "".join(blocks))


def _flatten(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{above}.{name}" if above else str(name)
        flat |= _flatten(value, path) if isinstance(value, Mapping) and value else {path: value}
    return flat


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _processes(count: int) -> str:
    return "" if count == 1 else f"{count} processes, "
