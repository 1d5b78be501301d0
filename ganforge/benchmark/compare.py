"""Variants of one recipe against each other, in turns, so that each is measured beside the others."""

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
    """``training.batch=32,generator.channels=64,128`` as its settings: a comma ends one where another begins.

    Raises:
        OptionError: It holds none, or something that is no setting.
    """
    settings = [each.strip() for each in re.split(r",(?=[^,=]*\.[^,=]*=)", text)]
    for each in settings:
        if not re.fullmatch(r"[^.=,\s]+(\.[^.=,\s]+)+\s*=.*", each):
            raise OptionError(
                f"--compare {text}: '{each}' is not of the form section.option=value",
                "such as --compare training.precision=float32 --compare training.precision=bfloat16",
            )
    return settings


def check_variants(variants: Sequence[str]) -> None:
    """Refuse what cannot be compared.

    Raises:
        OptionError: There is one variant only, or one twice.
    """
    if len(variants) < 2:
        raise OptionError(f"--compare {variants[0]}: one variant alone cannot be compared", "give --compare once more")
    for each in variants:
        if variants.count(each) > 1:
            raise OptionError(f"--compare {each}: is given twice", "leave one out")


def compare_players(variants: Mapping[str, Players], seconds: float) -> list[dict[str, Any]]:
    """Let each take a step of every kind, one after the other, again and again.

    Args:
        variants: By name; the others are compared with the first.
        seconds: For each, about.

    Returns:
        For each variant its plan, the seconds and images/s of a mean step, and the ratio of the time of an image to
        that of the first variant in the same round: median, least and most.
    """
    samples = {name: partial(take_mean_step, players) for name, players in variants.items()}
    for sample in samples.values():
        for _ in range(WARM_UP):
            sample()
    taken = alternate(samples, seconds)
    first = next(iter(taken.values()))
    images = [players.step_images for players in variants.values()]
    rows = []
    for (name, players), mine, count in zip(variants.items(), taken.values(), images, strict=True):
        ratios = [(own / count) / (other / images[0]) for own, other in zip(mine, first, strict=True)]
        rows.append(
            {
                "variant": name,
                "plan": players.engine.plan.describe(),
                "median_seconds": statistics.median(mine),
                "images_per_second": count / statistics.median(mine),
                "ratio": statistics.median(ratios),
                "min_ratio": min(ratios),
                "max_ratio": max(ratios),
                "rounds": len(ratios),
            }
        )
    return rows


def take_mean_step(players: Players) -> float:
    """Take a step of every kind, on the threads of its plan, and weigh their seconds by how often they come."""
    if players.engine.plan.threads is not None:
        torch.set_num_threads(players.engine.plan.threads)
    return sum(kind.share * time_calls(step_case(players, kind), 1, players.engine.finish) for kind in players.kinds())
