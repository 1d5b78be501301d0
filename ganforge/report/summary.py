"""Summary of each run: what its records say in sentences, the command that continues it, and key facts."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence

from ganforge.core.text import escape_html as escape
from ganforge.evaluation.metrics.memorization import QUANTILE
from ganforge.evaluation.results.result import Evaluation
from ganforge.report.markup import listing, section
from ganforge.report.reading import RunData, numbers_in
from ganforge.runs.metric_rows import Row
from ganforge.training.budget import FEW, suggest_budget
from ganforge.training.recording.verdict import COPIED, DETAILED, NOISE, UNIFORM, describe_memorization, find_stage

LATE = 0.8
"""Share of a run's images after which a lowest value counts as a continuing improvement."""

_STAGES = {
    "noise": f"Nothing is recognizable: the patch distance is {{:.2g}}, and shapes begin below {NOISE:g}.",
    "shapes": f"Details are wrong or missing: the patch distance is {{:.2g}}, and details begin below {DETAILED:g}.",
    "details": "Small patches resemble those of real images: the patch distance is {:.2g}. Objects are not measured.",
}


def summary_section(runs: Sequence[RunData]) -> str:
    """Return a card for each run, with sentences about its results, a suggestion, and its facts."""
    cards = []
    for run in runs:
        title = f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else ""
        said = "".join(f"<li>{escape(each)}</li>" for each in describe_results(run))
        facts = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in _facts(run))
        words = f'<ul class="verdict">{said}</ul>' if said else ""
        cards.append(f'<div class="card">{title}{words}{_suggest(run)}<dl class="facts">{facts}</dl></div>')
    return section("Summary", f'<div class="columns">{"".join(cards)}</div>')


def describe_results(run: RunData) -> list[str]:
    """Return sentences about samples, diversity, memorization, progress and warnings, as far as they were recorded."""
    return [
        *_describe_samples(run),
        *_describe_diversity(run),
        *_describe_memorization(run),
        *_describe_progress(run),
        *_describe_health(run),
    ]


def describe_speed(last: Row | None) -> str:
    """Return the mean speed of a run and that of its last tick; empty without ticks."""
    if last is None or not last.seconds:
        return ""
    speed = last.numbers.get("images_per_second")
    mean = f"{last.images / last.seconds:,.0f} images/s on average"
    return mean if speed is None else f"{mean}, {speed:,.0f} at last"


def _describe_samples(run: RunData) -> Iterator[str]:
    if stage := find_stage(run.last):
        yield f"After {run.ticks[-1].images:,} images, samples show {stage}."
        yield _STAGES[stage].format(run.last["patch_distance"])


def _describe_diversity(run: RunData) -> Iterator[str]:
    share = run.last.get("diversity")
    if share is not None:
        alike = ", and are too much alike" * (share < UNIFORM)
        yield f"Samples vary {share:.2f} times as much as the data{alike}."
    if (recall := run.newest("recall")) and recall.value is not None:
        yield f"Recall is {recall.value:.2g}: this share of real images lies near samples{_circumstances(recall, run)}."
    if (modes := run.newest("modes")) and (found := modes.details.get("coverage")):
        yield f"Samples cover {found['num_covered']:,} of {found['num_modes']:,} modes{_circumstances(modes, run)}."


def _describe_memorization(run: RunData) -> Iterator[str]:
    if text := describe_memorization(run.last):
        yield f"{text.capitalize()}."
    if (each := run.newest("memorization")) and each.value is not None:
        yield (
            f"{each.value:.1%} of samples are as near to a training image as the nearest {QUANTILE:.0%} of unseen "
            f"images are{_circumstances(each, run)}."
        )


def _describe_progress(run: RunData) -> Iterator[str]:
    name, values = _followed(run)
    if len(values) < 2:
        return
    lowest, after = min((value, images) for images, value in values)
    images, last = values[-1]
    if improves(run):
        yield f"{name} still improves: its lowest value, {lowest:.4g}, was measured after {after:,} images."
    elif run.best or find_stage(run.last) != "details":  # objects improve long after patches
        yield (
            f"{name} has not improved since {after:,} images: it was {lowest:.4g} then, and {last:.4g} after "
            f"{images:,} images."
        )


def _describe_health(run: RunData) -> Iterator[str]:
    if lost := [name for name, value in (run.ticks[-1].numbers if run.ticks else {}).items() if value is None]:
        yield f"At the end these values are not finite: {', '.join(lost)}."
    ended = run.ticks[-1].warnings if run.ticks else []
    yield from (f"At the end there is a warning: {text}." for text in ended)
    if run.warnings and not ended:
        images, text = run.warnings[-1]
        yield f"The last warning came after {images:,} images, and was gone at the end: {text}."


def improves(run: RunData) -> bool:
    """Return whether the lowest score, or without scores the lowest patch distance, is among the last ones."""
    values = _followed(run)[1]
    return len(values) > 1 and min((value, images) for images, value in values)[1] >= LATE * run.images


def _followed(run: RunData) -> tuple[str, list[tuple[int, float]]]:
    """Return the name and the finite values of the score that selects the best generator, or the patch distance."""
    if run.best:
        return run.best[0], _finite(run.scores, run.best[0])
    return "The patch distance", _finite(run.ticks, "patch_distance")


def _finite(rows: Sequence[Row], name: str) -> list[tuple[int, float]]:
    return [(images, value) for images, value in numbers_in(rows, name) if math.isfinite(value)]


def plan_resume(run: RunData) -> tuple[str, float]:
    """Return the command that resumes a run, with another budget if its own is spent, and its minutes at mean speed."""
    images, minutes, training = run.images, (run.ticks[-1].seconds if run.ticks else 0.0) / 60, run.training
    done = {"--images": images, "--minutes": minutes}
    budget = {"--images": training.images, "--minutes": training.minutes}
    goals = {flag: goal for flag, goal in budget.items() if goal is not None}
    more = ""
    if not goals or any(done[flag] >= goal for flag, goal in goals.items()):
        more = f" {suggest_budget(training, images, 60 * minutes)}"
        flag, total = more.split()
        goals = {flag: int(total)}
    each = {"--images": minutes / max(images, 1), "--minutes": 1.0}
    left = min((goal - done[flag]) * each[flag] for flag, goal in goals.items())
    return f"ganforge train --resume {shlex.quote(str(run.folder.path))}{more}", left


def _suggest(run: RunData) -> str:
    """Return the command that trains on, where the run improves or has hardly begun; empty if samples are copies."""
    images, per_step = run.images, run.training.batch * run.training.batches
    few = run.training.init_from is None and images < FEW * per_step
    if not images or not run.ticks or run.last.get("memorization", 0) > COPIED:
        return ""
    if not (few or improves(run) or find_stage(run.last) == "noise"):
        return ""
    command, minutes = plan_resume(run)
    count = max(1, round(minutes))
    why = f"So far it has taken {math.ceil(images / per_step):,} steps" if few else "More training may help"
    words = f"{why}. At the mean speed, this takes {count:,} more minute{'s' * (count != 1)}:"
    return f"<p>{words}</p>{listing(command)}"


def _circumstances(each: Evaluation, run: RunData) -> str:
    """Return the features, and the truncation and images where they are not those of the run's end."""
    extractor, psi = (each.protocol.get(name) for name in ("extractor", "truncation"))
    images = each.subject.get("images_seen")
    parts = [
        f"by features of {extractor}" if extractor else "",
        f"at truncation {psi:g}" if psi not in (None, 1.0) else "",
        f"after {images:,} images" if images not in (None, run.images) else "",
    ]
    return "".join(f", {each}" for each in parts if each)


def _facts(run: RunData) -> list[tuple[str, str]]:
    config, last = run.config, (run.ticks[-1] if run.ticks else None)
    facts = {
        "recipe": config.get("recipe", "?"),
        "loss": config.get("loss", {}).get("name", "?"),
        "data": config.get("data", {}).get("source", "?"),
        "images seen": f"{run.images:,}",
        "time": _clock(last.seconds if last else 0.0),
        "speed": describe_speed(last),
        "license": run.origin.get("license", ""),
    }
    if run.best:
        metric, row = run.best
        facts[f"best {metric}"] = f"{row.numbers[metric]:.4g} after {row.images:,} images"
    return [(name, value) for name, value in facts.items() if value]


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
