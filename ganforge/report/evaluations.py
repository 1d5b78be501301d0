"""Section with evaluations."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ganforge.core.text import escape_html as escape
from ganforge.evaluation.results.result import Evaluation
from ganforge.report.markup import listing, section, table
from ganforge.report.reading import RunData


def evaluations_section(runs: Sequence[RunData]) -> str:
    """Return a table of evaluations; values share a row if their protocols are equal."""
    rows: dict[tuple[str, str], dict[int, Evaluation]] = {}
    for number, run in enumerate(runs):
        for each in run.evaluations:  # the newest of each last
            rows.setdefault((each.metric, json.dumps(dict(each.protocol), sort_keys=True)), {})[number] = each
    body = [
        [
            metric,
            *(_value(found.get(number)) for number in range(len(runs))),
            next(iter(found.values())).better or "",
            _protocol(next(iter(found.values()))),
        ]
        for (metric, _), found in rows.items()
    ]
    head = [
        "metric",
        *(run.name if len(runs) > 1 else "value" for run in runs),
        "better",
        "protocol",
    ]
    notes = sorted({note for run in runs for each in run.evaluations for note in each.notes})
    listed = f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in notes)}</ul>" if notes else ""
    found = table(head, body, "Evaluations with confidence intervals") + listed
    if body:
        return section("Evaluation", found + mode_bars(runs))
    names = " ".join(shlex.quote(str(run.folder.path)) for run in runs)
    hint = f"ganforge eval {names} --all"
    return section("Evaluation", f"<p>Not evaluated yet:</p>{listing(hint)}")


def mode_bars(runs: Sequence[RunData]) -> str:
    """Return bars of the share of each mode in samples and data."""
    charts = []
    for run in runs:
        found = run.newest("modes")
        shares = found.details.get("classes", []) if found else []
        bars = "".join(_bar(each) for each in shares[:100])
        words = "<p>Each line marks the share in the data.</p>"
        charts.append(f"<h3>Modes of {escape(run.name)}</h3>{words}<dl class='bars'>{bars}</dl>" if bars else "")
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
