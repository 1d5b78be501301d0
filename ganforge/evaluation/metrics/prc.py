"""Precision, recall, density and coverage."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import (
    MIN_FOR_INTERVAL,
    half_samples,
    precision_recall_density_coverage,
    share_interval,
)

MAX_IMAGES = 10_000
"""Maximum number of images per set: the cost grows with its square."""

_DEPENDENCE = 1.12
"""Factor of the spread of halves, since values may depend on few images."""


def measure_prc(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return precision, recall, density and coverage; see `precision_recall_density_coverage`."""
    sets = []
    for each in (reals, fakes):
        sets.append(_choose_rows(each.features, MAX_IMAGES))
        each.release()
    found = asdict(precision_recall_density_coverage(*sets))
    halves = half_samples(*sets) if min(map(len, sets)) >= MIN_FOR_INTERVAL else ()
    draws = [asdict(precision_recall_density_coverage(*half)) for half in halves]
    means = {name: float(np.mean([each[name] for each in draws or [found]])) for name in found}
    parameters: dict[str, Any] = {
        "num_searched": [len(each) for each in sets],
        "neighbours": 3,
        "coverage_neighbours": 5,
    }
    return [
        Measured(
            name=name,
            value=value,
            interval=share_interval(
                value,
                len(sets[name in ("precision", "density")]),
                draws=[means[name] + _DEPENDENCE * (each[name] - means[name]) for each in draws],
                most=math.inf if name == "density" else 1.0,  # density is unbounded
            )
            if draws
            else None,
            better="higher",
            parameters=parameters | ({"balls": "open"} if name in ("density", "coverage") else {}),
        )
        for name, value in found.items()
    ]


def _choose_rows(features: Tensor, count: int) -> Tensor:
    """Return `count` random rows in their order, the same in each call; all if there are no more."""
    if len(features) <= count:
        return features
    return features[torch.from_numpy(np.sort(np.random.RandomState(0).permutation(len(features))[:count]))]
