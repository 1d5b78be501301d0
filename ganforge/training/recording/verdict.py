"""Verdict on samples in words: noise, shapes, or details."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOISE = 0.35
"""Patch distance above which samples are noise, or too blurred to recognize."""

DETAILED = 0.15
"""Patch distance below which details resemble those of real images."""

UNIFORM = 0.5
"""Diversity below which samples are too much alike."""


def is_noise(row: Mapping[str, Any]) -> bool:
    """Return whether a row of metrics is one of samples that are still noise."""
    return bool(row.get("patch_distance", 0.0) > NOISE)


def describe_samples(row: Mapping[str, Any]) -> str:
    """Describe the samples of a row of metrics in a few words; empty if it has no patch distance."""
    distance, diversity = row.get("patch_distance"), row.get("diversity", 1.0)
    if distance is None:
        return ""
    stage = "noise" if distance > NOISE else "shapes" if distance > DETAILED else "details"
    if distance <= NOISE and diversity < UNIFORM:
        stage += f", but too uniform: diversity {diversity:.2f}, 1 is that of real images"
    return stage
