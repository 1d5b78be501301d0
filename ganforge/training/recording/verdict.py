"""Verdict on samples in words: noise, shapes, or details; and whether they are copies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOISE = 0.35
"""Patch distance above which samples are noise, or too blurred to recognize."""

DETAILED = 0.15
"""Patch distance below which details resemble those of real images."""

UNIFORM = 0.5
"""Diversity below which samples are too much alike."""

COPIED = 0.2
"""Memorization above which samples are copies; unseen images have 0.05 or less."""


def find_stage(row: Mapping[str, Any]) -> str:
    """Return the word for the samples of a row of metrics: noise, shapes or details; empty without patch distance."""
    distance = row.get("patch_distance")
    if distance is None:
        return ""
    if not distance <= NOISE:  # also where it is not a number
        return "noise"
    return "shapes" if distance > DETAILED else "details"


def describe_samples(row: Mapping[str, Any]) -> str:
    """Describe the samples of a row of metrics in a few words; empty if it has no patch distance."""
    stage, diversity = find_stage(row), row.get("diversity", 1.0)
    if stage in ("shapes", "details") and diversity < UNIFORM:
        stage += f", but too uniform: diversity {diversity:.2f}, 1 is that of real images"
    return stage


def describe_memorization(row: Mapping[str, Any]) -> str:
    """Describe the memorization of a row of metrics in a few words; empty if it has none."""
    share = row.get("memorization")
    if share is None:
        return ""
    return f"memorization {share:.2f}: " + ("samples copy training images" if share > COPIED else "few or no copies")
