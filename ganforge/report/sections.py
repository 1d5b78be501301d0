"""The parts of the page, each a function from runs to HTML; nothing where there is nothing to show."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganforge.data.decode import read_picture
from ganforge.errors import DataError
from ganforge.evaluation.result import Evaluation
from ganforge.report.curves import Line, draw_chart
from ganforge.report.pictures import Frame, embed, figure
from ganforge.report.reading import Story, metric_of, numbers_in
from ganforge.text import escape_html as escape

_Rows = Sequence[Mapping[str, Any]]


def section(title: str, body: str) -> str:
    """A section with a heading; nothing if it has no body."""
    key = "".join(each if each.isalnum() else "-" for each in title.lower())
    return (
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{title}</h2>{body}</section>'
        * bool(body)
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """A table whose first column names its rows."""
    if not rows:
        return ""
    top = "".join(f'<th scope="col">{escape(each)}</th>' for each in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(each)}</td>" for each in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def listing(lines: str) -> str:
    """What can be typed; where it is wider than the screen, keys can scroll it."""
    return f'<pre tabindex="0"><code>{escape(lines)}</code></pre>'


def moment(text: object) -> str:
    """A moment of ISO 8601 as it is read: 2026-01-31 12:00:00 UTC."""
    return str(text).replace("T", " ").replace("+00:00", " UTC")


def tell_speed(last: Mapping[str, Any]) -> str:
    """Mean images per second over a run, and in its last tick, of the row of that tick; empty without one."""
    if not last.get("seconds"):
        return ""
    mean = last["images"] / last["seconds"]
    return f"{mean:,.0f} images/s on average, {last['images_per_second']:,.0f} at last"


def tell_facts(stories: Sequence[Story]) -> str:
    """What each run is, in a line of facts."""
    cards = []
    for story in stories:
        config, last = story.config, (story.ticks[-1] if story.ticks else {})
        facts = {
            "recipe": config.get("recipe", "?"),
            "loss": config.get("loss", {}).get("name", "?"),
            "data": config.get("data", {}).get("source", "?"),
            "images shown": f"{story.images:,}",
            "time": _clock(last.get("seconds", 0.0)),
            "speed": tell_speed(last),
        }
        if story.best:
            metric, row = story.best
            facts[f"best {metric}"] = f"{row[metric]:.4g} after {row['images']:,} images"
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


_CURVES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (
        "Losses",
        "What each player minimises, without penalties. They play against one another, so neither tells how good "
        "pictures are; a discriminator's loss that falls to 0 and stays there does tell: the generator learns no more.",
        lambda name: name in ("discriminator/loss", "generator/loss"),
    ),
    (
        "Penalties",
        "What is added to a loss, as weighed. One that outgrows the loss holds its player back.",
        lambda name: name.startswith(("discriminator/", "generator/")) and not name.endswith("/loss"),
    ),
    (
        "What the discriminator believes",
        "Its mean probability that an example is real, of real and of generated ones. 1 and 0 mean that it has won; "
        "near one half, both are at eye level. For critics without a sigmoid only the order counts.",
        lambda name: name.startswith("D("),
    ),
    (
        "Gap between logits",
        "How much higher real examples are judged than generated ones. Growing without end means an ever surer "
        "discriminator.",
        lambda name: name == "logit_gap",
    ),
    (
        "Gradients",
        "Norms of the players' gradients. Steady is well; peaks come before a divergence.",
        lambda name: name.startswith("gradient/"),
    ),
    (
        "Skipped steps",
        "The share of steps that were not taken since a gradient was not finite.",
        lambda name: name.startswith("skipped/"),
    ),
    (
        "Diversity",
        "How much samples differ from one another, relative to real examples: about 1 is well, near 0 is a collapse.",
        lambda name: name == "diversity",
    ),
    ("Speed", "Images a second.", lambda name: name == "images_per_second"),
    (
        "Other numbers",
        "Whatever parts of this run have told besides.",
        lambda name: name not in ("images", "seconds", "picture", "warnings"),
    ),
)


def show_curves(stories: Sequence[Story]) -> str:
    """All numbers of the ticks over images, in groups, each with a word on what it means."""
    names = list(dict.fromkeys(name for story in stories for row in story.ticks for name in row))
    charts = []
    for title, words, belongs in _CURVES:
        mine = [name for name in names if belongs(name)]
        names = [name for name in names if name not in mine]
        found = [_lines(stories, [name]) for name in mine] if len(stories) > 1 else [_lines(stories, mine)]
        for name, lines in zip(mine if len(stories) > 1 else [title], found, strict=True):
            if not any(value == value and abs(value) != float("inf") for line in lines for _, value in line.points):
                continue
            if title == "Skipped steps" and not any(value for line in lines for _, value in line.points):
                continue
            heading = f"{title}: {name}" if len(stories) > 1 and len(mine) > 1 else title
            charts.append(_chart(heading, words, lines))
    return section("Curves", f'<div class="charts">{"".join(charts)}</div>' if charts else "")


def show_scores(stories: Sequence[Story]) -> str:
    """Scores over images, best against last."""
    metrics = list(dict.fromkeys(name for story in stories for row in story.scores for name in row))
    charts = [
        _chart(
            metric,
            "Lower is better. Of few samples: good for choosing among the states of one run, not for quoting.",
            [
                Line(story.name if len(stories) > 1 else metric, points, number)
                for number, story in enumerate(stories)
                if (points := numbers_in(story.scores, metric))
            ],
        )
        for metric in metrics
        if metric not in ("images", "seconds") and any(numbers_in(story.scores, metric) for story in stories)
    ]
    rows = []
    for story in stories:
        if story.best:
            metric, best = story.best
            last = next(row for row in reversed(story.scores) if metric_of(row) == metric)
            rows.append(
                [
                    story.name,
                    metric,
                    f"{best[metric]:.4g}",
                    f"{best['images']:,}",
                    f"{last[metric]:.4g}",
                    f"{last['images']:,}",
                ]
            )
    head = ["run", "metric", "best", "after images", "last", "after images"]
    body = f'<div class="charts">{"".join(charts)}</div>' if charts else ""
    return section("Best against last", body + table(head, rows, "Best and last scores") if rows else "")


def _lines(stories: Sequence[Story], names: Sequence[str]) -> list[Line]:
    return [
        Line(story.name if len(stories) > 1 else name, points, place + number)
        for place, story in enumerate(stories)
        for number, name in enumerate(names)
        if (points := numbers_in(story.ticks, name))
    ]


def _chart(title: str, words: str, lines: Sequence[Line]) -> str:
    return f'<div class="chart-card"><h3>{escape(title)}</h3>{draw_chart(title, lines)}<p>{escape(words)}</p></div>'


def show_evaluations(stories: Sequence[Story]) -> str:
    """What was measured; values stand in one row only if they were obtained in one and the same way."""
    rows: dict[tuple[str, str], dict[int, Evaluation]] = {}
    for number, story in enumerate(stories):
        for each in story.evaluations:  # the newest of each last
            rows.setdefault((each.metric, json.dumps(dict(each.protocol), sort_keys=True)), {})[number] = each
    body = [
        [
            metric,
            *(_value(found.get(number)) for number in range(len(stories))),
            _better(next(iter(found.values()))),
            _protocol(next(iter(found.values()))),
        ]
        for (metric, _), found in rows.items()
    ]
    head = [
        "metric",
        *(story.name if len(stories) > 1 else "value" for story in stories),
        "better",
        "how it was obtained",
    ]
    notes = sorted({note for story in stories for each in story.evaluations for note in each.notes})
    listed = f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in notes)}</ul>" if notes else ""
    found = table(head, body, "Evaluations, with intervals where they are known") + listed
    if body:
        return section("Evaluation", found + show_modes(stories))
    runs = " ".join(shlex.quote(str(story.folder.path)) for story in stories)
    hint = f"ganforge eval {runs} --all"
    return section("Evaluation", f"<p>Not evaluated yet:</p>{listing(hint)}")


def show_modes(stories: Sequence[Story]) -> str:
    """How often each mode was generated, beside how often it would be."""
    charts = []
    for story in stories:
        found = next((each for each in reversed(story.evaluations) if each.metric == "modes"), None)
        shares = found.details.get("classes") if found else None
        if not isinstance(shares, list) or not all(isinstance(each, dict) for each in shares):
            continue
        bars = "".join(_bar(each) for each in shares[:100])
        charts.append(f"<h3>Modes of {escape(story.name)}</h3><dl class='bars'>{bars}</dl>" if bars else "")
    return "".join(charts)


def _bar(share: Mapping[str, Any]) -> str:
    try:
        name, ours, theirs = str(share["name"]), float(share["generated"]), float(share["data"])
    except (KeyError, TypeError, ValueError):
        return ""
    width = min(100.0, 100 * ours / max(theirs * 2, 1e-9))
    return (
        f"<div><dt>{escape(name)}</dt><dd><span class='bar' style='width:{width:.1f}%'></span>"
        f"<span>{ours:.1%} (data {theirs:.1%})</span></dd></div>"
    )


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
            versions = {**_mapping(each.get("versions")), **_mapping(each.get("plugins"))}
            rows.append(
                [
                    f"{story.name}, from {each.get('images', 0):,} images"
                    if isinstance(each.get("images"), int)
                    else story.name,
                    moment(each.get("began", "")),
                    f"{each.get('device', '')}, {_processes(each.get('processes', 1))}{each.get('plan', '')}",
                    f"{each.get('cores', '?')} cores, {each.get('platform', '')}, Python {each.get('python', '')}",
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


def _value(each: Evaluation | None) -> str:
    if each is None:
        return ""
    value = "not defined" if each.value is None else f"{each.value:.4g}"
    return value if each.interval is None else f"{value} ({each.interval.low:.4g} to {each.interval.high:.4g})"


def _better(each: Evaluation) -> str:
    return each.better or ""


def _protocol(each: Evaluation) -> str:
    known = each.protocol
    parts = [
        f"{known['extractor']}" if known.get("extractor") else "",
        f"{known['num_samples']:,} samples" if isinstance(known.get("num_samples"), int) else "",
        f"{known['num_references']:,} real images" if isinstance(known.get("num_references"), int) else "",
        f"split {known['split']}" if known.get("split") else "",
    ]
    return ", ".join(filter(None, parts))


def _flatten(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{above}.{name}" if above else str(name)
        flat |= _flatten(value, path) if isinstance(value, Mapping) and value else {path: value}
    return flat


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _processes(count: Any) -> str:
    return "" if count == 1 else f"{count} processes, "


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _clock(seconds: Any) -> str:
    whole = round(seconds) if isinstance(seconds, int | float) else 0
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
