"""Comparison of variants of a recipe, timed in rotation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from ganforge.benchmark.cases import step_case
from ganforge.benchmark.timing import WARM_UP, alternate, time_calls
from ganforge.benchmark.training_setup import Players
from ganforge.contract.errors import OptionError


def split_variant(text: str) -> list[str]:
    """Split ``training.batch=32,generator.channels=64,128`` into settings; raise `OptionError` if one is invalid."""
    settings = [each.strip() for each in re.split(r",(?=[^,=]*\.[^,=]*=)", text)]
    for each in settings:
        if not re.fullmatch(r"[^.=,\s]+(\.[^.=,\s]+)+\s*=.*", each):
            raise OptionError(
                f"--compare {text}: '{each}' is not of the form section.option=value",
                "e.g. --compare training.precision=float32 --compare training.precision=bfloat16",
            )
    return settings


def check_variants(variants: Sequence[str]) -> None:
    """Raise `OptionError` for a single variant, or for duplicates."""
    if len(variants) < 2:
        raise OptionError(f"--compare {variants[0]}: a single variant cannot be compared", "add another --compare")
    for each in variants:
        if variants.count(each) > 1:
            raise OptionError(f"--compare {each}: is given twice", "remove one")


def compare_players(variants: Mapping[str, Players], seconds: float) -> list[dict[str, Any]]:
    """Time a mean step of each variant in rotation, for about `seconds` each.

    Rows hold plan, seconds, images/s, and the ratio of the time per image to that of the first variant in the same
    round: median, minimum and maximum.
    """
    samples = {name: partial(_time_mean_step, players) for name, players in variants.items()}
    for sample in samples.values():
        for _ in range(WARM_UP):
            sample()
    taken = alternate(samples, seconds)
    first = next(iter(taken.values()))
    images = [players.step_images for players in variants.values()]
    rows = []
    for (name, players), mine, count in zip(variants.items(), taken.values(), images, strict=True):
        ratios = [(own / count) / (other / images[0]) for own, other in zip(mine, first, strict=True)]
        row = {
            "variant": name,
            "plan": players.engine.plan.describe(),
            "median_seconds": statistics.median(mine),
            "images_per_second": count / statistics.median(mine),
            "ratio": statistics.median(ratios),
            "min_ratio": min(ratios),
            "max_ratio": max(ratios),
            "rounds": len(ratios),
        }
        rows.append(row)
    return rows


def _time_mean_step(players: Players) -> float:
    """Return the mean time of a step over all kinds, weighted by frequency, on the threads of the plan."""
    if players.engine.plan.threads is not None:
        torch.set_num_threads(players.engine.plan.threads)
    return sum(kind.share * time_calls(step_case(players, kind), 1, players.engine.finish) for kind in players.kinds())
