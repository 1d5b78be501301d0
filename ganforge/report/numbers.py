"""Sections with charts of training statistics and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ganforge.core.text import escape_html as escape
from ganforge.report.curves import Line, draw_chart, has_points
from ganforge.report.markup import section, table
from ganforge.report.reading import RunData, numbers_in
from ganforge.training.recording.verdict import COPIED, DETAILED, NOISE

_CURVES: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    (
        "Losses",
        "Loss of each player, without penalties. Losses do not measure image quality. A discriminator loss that stays "
        "near 0 means that the generator no longer learns.",
        lambda name: name in ("discriminator/loss", "generator/loss"),
    ),
    (
        "Penalties",
        "Weighted regularization terms. A penalty larger than the loss slows its player down.",
        lambda name: name.startswith(("discriminator/", "generator/")) and not name.endswith("/loss"),
    ),
    (
        "Discriminator probabilities",
        "Mean probability of being real, for real and generated examples. 1 and 0: the discriminator wins; near 0.5: "
        "the players are balanced. For Wasserstein critics only the order is meaningful.",
        lambda name: name.startswith("D("),
    ),
    (
        "Logit gap",
        "Mean logit of real examples minus that of generated ones. Steady growth means that the discriminator wins.",
        lambda name: name == "logit_gap",
    ),
    (
        "Gradients",
        "Gradient norms of the players. Peaks often precede divergence.",
        lambda name: name.startswith("gradient/"),
    ),
    (
        "Skipped steps",
        "Share of steps that were skipped because of a non-finite gradient.",
        lambda name: name.startswith("skipped/"),
    ),
    (
        "Diversity",
        "Variation among samples relative to real examples: about 1 is good, near 0 is mode collapse.",
        lambda name: name == "diversity",
    ),
    (
        "Patch distance",
        "Distance of small patches of samples from those of real images: 0 for equal ones, 1 for one color. Above "
        f"{NOISE} samples are noise, below {DETAILED} they have details.",
        lambda name: name == "patch_distance",
    ),
    (
        "Memorization",
        "Share of samples that are far nearer to one training image than to the others: 1 for copies, 0.05 or less for "
        f"unseen images. Above {COPIED} the generator copies. Measured if there are few images.",
        lambda name: name == "memorization",
    ),
    ("Speed", "Images per second.", lambda name: name == "images_per_second"),
    (
        "Other metrics",
        "Other values that parts of this run logged.",
        lambda name: True,
    ),
)


def curves_section(runs: Sequence[RunData]) -> str:
    """Return charts of all training statistics over images, in groups with explanations."""
    names = list(dict.fromkeys(name for run in runs for row in run.ticks for name in row.numbers))
    charts = []
    for title, words, belongs in _CURVES:
        mine = [name for name in names if belongs(name)]
        names = [name for name in names if name not in mine]
        found = [_lines(runs, [name]) for name in mine] if len(runs) > 1 else [_lines(runs, mine)]
        for name, lines in zip(mine if len(runs) > 1 else [title], found, strict=True):
            if not lines or (title == "Skipped steps" and not any(value for line in lines for _, value in line.points)):
                continue
            heading = f"{title}: {name}" if len(runs) > 1 and len(mine) > 1 else title
            charts.append(_chart(heading, words, lines))
    return section("Curves", f'<div class="charts">{"".join(charts)}</div>' if charts else "")


def scores_section(runs: Sequence[RunData]) -> str:
    """Return charts of scores over images, and a table of best and last scores."""
    metrics = list(dict.fromkeys(name for run in runs for row in run.scores for name in row.numbers))
    charts = [
        _chart(
            metric,
            "Lower is better. Computed from few samples: compare checkpoints of one run, do not publish.",
            lines,
        )
        for metric in metrics
        if (
            lines := [
                Line(run.name if len(runs) > 1 else metric, points, number)
                for number, run in enumerate(runs)
                if has_points(points := numbers_in(run.scores, metric))
            ]
        )
    ]
    rows = []
    for run in runs:
        if run.best:
            metric, best = run.best
            last = next(row for row in reversed(run.scores) if row.metric == metric)
            rows.append(
                [
                    run.name,
                    metric,
                    f"{best.numbers[metric]:.4g}",
                    f"{best.images:,}",
                    _score(last.numbers[metric]),
                    f"{last.images:,}",
                ]
            )
    head = ["run", "metric", "best", "after images", "last", "after images"]
    body = f'<div class="charts">{"".join(charts)}</div>' if charts else ""
    return section("Best and last", body + table(head, rows, "Best and last scores") if rows else "")


def _lines(runs: Sequence[RunData], names: Sequence[str]) -> list[Line]:
    return [
        Line(run.name if len(runs) > 1 else name, points, place + number)
        for place, run in enumerate(runs)
        for number, name in enumerate(names)
        if has_points(points := numbers_in(run.ticks, name))
    ]


def _chart(title: str, words: str, lines: Sequence[Line]) -> str:
    return f'<div class="chart-card"><h3>{escape(title)}</h3>{draw_chart(title, lines)}<p>{escape(words)}</p></div>'


def _score(value: float | None) -> str:
    return "non-finite" if value is None else f"{value:.4g}"
