"""Sections with charts: statistics of training and scores, over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ganforge.core.text import escape_html as escape
from ganforge.report.curves import Line, draw_chart, has_points
from ganforge.report.markup import section, table
from ganforge.report.reading import Story, numbers_in

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
        lambda name: True,
    ),
)


def show_curves(stories: Sequence[Story]) -> str:
    """All numbers of the ticks over images, in groups, each with a word on what it means."""
    names = list(dict.fromkeys(name for story in stories for row in story.ticks for name in row.numbers))
    charts = []
    for title, words, belongs in _CURVES:
        mine = [name for name in names if belongs(name)]
        names = [name for name in names if name not in mine]
        found = [_lines(stories, [name]) for name in mine] if len(stories) > 1 else [_lines(stories, mine)]
        for name, lines in zip(mine if len(stories) > 1 else [title], found, strict=True):
            if not lines or (title == "Skipped steps" and not any(value for line in lines for _, value in line.points)):
                continue
            heading = f"{title}: {name}" if len(stories) > 1 and len(mine) > 1 else title
            charts.append(_chart(heading, words, lines))
    return section("Curves", f'<div class="charts">{"".join(charts)}</div>' if charts else "")


def show_scores(stories: Sequence[Story]) -> str:
    """Scores over images, best against last."""
    metrics = list(dict.fromkeys(name for story in stories for row in story.scores for name in row.numbers))
    charts = [
        _chart(
            metric,
            "Lower is better. Of few samples: good for choosing among the states of one run, not for quoting.",
            lines,
        )
        for metric in metrics
        if (
            lines := [
                Line(story.name if len(stories) > 1 else metric, points, number)
                for number, story in enumerate(stories)
                if has_points(points := numbers_in(story.scores, metric))
            ]
        )
    ]
    rows = []
    for story in stories:
        if story.best:
            metric, best = story.best
            last = next(row for row in reversed(story.scores) if row.metric == metric)
            rows.append(
                [
                    story.name,
                    metric,
                    f"{best.numbers[metric]:.4g}",
                    f"{best.images:,}",
                    _score(last.numbers[metric]),
                    f"{last.images:,}",
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
        if has_points(points := numbers_in(story.ticks, name))
    ]


def _chart(title: str, words: str, lines: Sequence[Line]) -> str:
    return f'<div class="chart-card"><h3>{escape(title)}</h3>{draw_chart(title, lines)}<p>{escape(words)}</p></div>'


def _score(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
