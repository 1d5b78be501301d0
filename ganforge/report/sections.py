"""The parts of the page, each a function from runs to HTML; nothing where there is nothing to show."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.contract.errors import DataError
from ganforge.core.text import escape_html as escape
from ganforge.data.decode import read_picture
from ganforge.report.markup import listing, moment, section, table
from ganforge.report.pictures import Frame, embed, figure
from ganforge.report.reading import Story
from ganforge.runs.metric_rows import Row


def tell_speed(last: Row | None) -> str:
    """Mean images per second over a run, and in its last tick, of the row of that tick; empty without one."""
    if last is None or not last.seconds:
        return ""
    speed = last.numbers.get("images_per_second")
    mean = f"{last.images / last.seconds:,.0f} images/s on average"
    return mean if speed is None else f"{mean}, {speed:,.0f} at last"


def tell_facts(stories: Sequence[Story]) -> str:
    """What each run is, in a line of facts."""
    cards = []
    for story in stories:
        config, last = story.config, (story.ticks[-1] if story.ticks else None)
        facts = {
            "recipe": config.get("recipe", "?"),
            "loss": config.get("loss", {}).get("name", "?"),
            "data": config.get("data", {}).get("source", "?"),
            "images shown": f"{story.images:,}",
            "time": _clock(last.seconds if last else 0.0),
            "speed": tell_speed(last),
        }
        if story.best:
            metric, row = story.best
            facts[f"best {metric}"] = f"{row.numbers[metric]:.4g} after {row.images:,} images"
        items = "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items() if value
        )
        title = f"<h2>{escape(story.name)}</h2>" if len(stories) > 1 else ""
        cards.append(f'<div class="card">{title}<dl class="facts">{items}</dl></div>')
    return f'<div class="columns">{"".join(cards)}</div>'


def tell_warnings(stories: Sequence[Story]) -> str:
    """What was warned of while they trained, and what of them could not be read."""
    items = []
    for story in stories:
        of = f"{story.name}: " if len(stories) > 1 else ""
        items += [f"{of}after {images:,} images: {text}" for images, text in story.warnings]
        items += [f"{of}{text}" for text in story.problems]
    return section("Warnings", f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in items)}</ul>" if items else "")


def show_training(stories: Sequence[Story], frames: Sequence[Sequence[Frame]]) -> str:
    """Grids of the same seeds, to be slid through; side by side those of equal images."""
    if not any(frames):
        return ""
    places = sorted({frame.images for own in frames for frame in own})
    figures = []
    for number, (story, own) in enumerate(zip(stories, frames, strict=True)):
        if own:
            name = f" of {story.name}" if len(stories) > 1 else ""
            figures.append(
                f'<figure><img class="grid" id="grid-{number}" src="{own[-1].data}" '
                f'alt="Samples{escape(name)} after {own[-1].images:,} images">'
                f'<figcaption id="grid-{number}-caption">{escape(story.name)}, after {own[-1].images:,} images'
                "</figcaption></figure>"
            )
    # No picture is in the page twice: the last one of each run is seen from the beginning.
    listed = [[[frame.images, None if frame is own[-1] else frame.data] for frame in own] for own in frames]
    data = json.dumps(listed).replace("</", "<\\/")
    control = (
        f'<div class="player" hidden><button type="button" id="play" aria-pressed="false">Play</button>'
        f'<label for="time">Images shown</label><input type="range" id="time" min="0" max="{len(places) - 1}" '
        f'value="{len(places) - 1}" aria-describedby="time-value">'
        f'<output id="time-value" for="time">{places[-1]:,}</output></div>'
        if len(places) > 1
        else ""
    )
    words = (
        "<p>The same latent vectors all along: what they become shows how the generator learns. Samples that turn into "
        "one another late, or that all look alike, are worth a look at the curves below.</p>"
    )
    fewer = [
        f"{len(own)} of {len(story.grids)} grids{f' of {story.name}' if len(stories) > 1 else ''}"
        for story, own in zip(stories, frames, strict=True)
        if len(own) < len(story.grids)
    ]
    if fewer:
        words += f"<p>Shown, evenly spread: {escape(', '.join(fewer))}.</p>"
    return section(
        "Training",
        f'{words}{control}<div class="columns">{"".join(figures)}</div>'
        f'<script type="application/json" id="frames">{data}</script>',
    )


def show_samples(story: Story, figures: Sequence[str], named: bool) -> str:
    """Figures of what a run's generators make, below its name if there are several runs."""
    if not figures:
        return ""
    title = f"<h3>{escape(story.name)}</h3>" if named else ""
    return f'{title}<div class="columns">{"".join(figures)}</div>'


def show_nearest(stories: Sequence[Story]) -> str:
    """Samples beside the training images that they are nearest to."""
    figures = []
    for story in stories:
        if story.nearest is not None:
            try:
                data = embed(read_picture(story.nearest))
            except (DataError, OSError, ValueError) as error:
                figures.append(f"<p>{escape(error)}</p>")
                continue
            figures.append(figure(data, "Samples and their nearest training images", story.name))
    words = "<p>Each sample beside the training images nearest to it: near is not a copy, equal is.</p>"
    return section("Nearest neighbours", words + "".join(figures) if figures else "")


def show_settings(stories: Sequence[Story]) -> str:
    """The configuration; of several runs what differs, and then each in full."""
    flat = [_flatten(story.config) for story in stories]
    names = list(dict.fromkeys(name for each in flat for name in each))
    parts = []
    if len(stories) > 1:
        rows = [
            [name, *(_plain(each.get(name, "")) for each in flat)]
            for name in names
            if len({json.dumps(each.get(name)) for each in flat}) > 1
        ]
        head = ["setting", *(story.name for story in stories)]
        parts.append(table(head, rows, "What differs") or "<p>All settings are equal.</p>")
    for story, each in zip(stories, flat, strict=True):
        rows = [[name, _plain(value)] for name, value in each.items()]
        title = f"All settings of {story.name}" if len(stories) > 1 else "All settings"
        parts.append(f"<details><summary>{escape(title)}</summary>{table(['setting', 'value'], rows, title)}</details>")
    return section("Configuration", "".join(parts))


def show_origin(stories: Sequence[Story]) -> str:
    """With what and where they were computed, each sitting of it."""
    rows = []
    for story in stories:
        for each in story.sittings:
            versions = {**each.versions, **each.plugins}
            rows.append(
                [
                    f"{story.name}, from {each.images:,} images",
                    moment(each.began),
                    f"{each.device}, {_processes(each.processes)}{each.plan}",
                    f"{each.cores or '?'} cores, {each.platform}, Python {each.python}",
                    ", ".join(f"{name} {version}" for name, version in versions.items()),
                ]
            )
    return section("Provenance", table(["sitting", "began", "device", "machine", "software"], rows, "Sittings"))


def show_commands(stories: Sequence[Story]) -> str:
    """What to type to do it again, to go on, and to take it elsewhere."""
    blocks = []
    for story in stories:
        path = shlex.quote(str(story.folder.path))
        training = story.config.get("training", {})
        further = (
            f"--minutes {2 * training['minutes']:g}"
            if training.get("minutes")
            else f"--images {2 * max(story.images, 1)}"
        )
        commands = [
            ("repeat it", f"ganforge train --config {path}/config.json"),
            ("go on with it", f"ganforge train --resume {path} {further}"),
            ("draw from it", f"ganforge sample {path} --count 64"),
            ("evaluate it", f"ganforge eval {path} --all"),
            ("take it to C++", f"ganforge export {path} --torchscript"),
        ]
        title = f"<h3>{escape(story.name)}</h3>" if len(stories) > 1 else ""
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


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
