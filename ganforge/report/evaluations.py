"""The section of evaluations."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.core.text import escape_html as escape
from ganforge.evaluation.results.result import Evaluation
from ganforge.report.markup import listing, section, table
from ganforge.report.reading import Story


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
            next(iter(found.values())).better or "",
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
        shares = found.details.get("classes", []) if found else []
        bars = "".join(_bar(each) for each in shares[:100])
        charts.append(f"<h3>Modes of {escape(story.name)}</h3><dl class='bars'>{bars}</dl>" if bars else "")
    return "".join(charts)


def _bar(share: Mapping[str, Any]) -> str:
    name, ours, theirs = share["name"], share["generated"], share["data"]
    width = min(100.0, 100 * ours / max(theirs * 2, 1e-9))
    return (
        f"<div><dt>{escape(name)}</dt><dd><span class='bar' style='width:{width:.1f}%'></span>"
        f"<span>{ours:.1%} (data {theirs:.1%})</span></dd></div>"
    )


def _value(each: Evaluation | None) -> str:
    if each is None:
        return ""
    value = "not defined" if each.value is None else f"{each.value:.4g}"
    return value if each.interval is None else f"{value} ({each.interval.low:.4g} to {each.interval.high:.4g})"


def _protocol(each: Evaluation) -> str:
    known = each.protocol
    parts = [
        known.get("extractor") or "",
        f"{count:,} samples" if (count := known.get("num_samples")) is not None else "",
        f"{count:,} real images" if (count := known.get("num_references")) is not None else "",
        f"split {known['split']}" if known.get("split") else "",
    ]
    return ", ".join(filter(None, parts))
