"""Metrics of generated images by their features beside those of real ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import (
    GroupedMoments,
    Interval,
    frechet_infinity,
    frechet_interval,
    frechet_of_few,
    half_sample_interval,
    half_samples,
    inception_score,
    kernel_distance,
    precision_recall_density_coverage,
    share_interval,
    spread_interval,
    student_quantile,
)

MANIFOLD_IMAGES = 10_000
"""Images of each set that precision, recall, density and coverage are computed of: their cost grows with the square."""

FEW = 20
"""Images below which no interval is given."""

POINTS = 15
"""Subsets by which a distance is extrapolated; so many generated images more than dimensions are needed."""

_LEVEL = 0.95

_DEPENDENCE = 1.12
"""Factor of the spread of halves for precision, recall, density and coverage, which may rest on few images."""


def measure_frechet(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """The Frechet distance; see `ganforge.evaluation.statistics.frechet_distance`."""
    sets = [reals.features, fakes.features]
    if min(map(len, sets)) < FEW:
        return [Measured(name="fid", value=frechet_of_few(*sets), better="lower")]
    if max(map(len, sets)) <= reals.features.shape[1]:
        interval = half_sample_interval(frechet_of_few, *sets, level=_LEVEL)
    else:
        moments = []
        for each in (reals, fakes):
            moments.append(GroupedMoments(each.features))
            each.release()
        interval = frechet_interval(*moments, level=_LEVEL)
    return [Measured(name="fid", value=interval.value, interval=interval.within(0), better="lower")]


def measure_frechet_infinity(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """The Frechet distance freed of the bias by the number of generated images; see `frechet_infinity`."""
    smallest = max(fakes.features.shape[1] + 1, len(fakes) // 10)
    moments = GroupedMoments(reals.features), GroupedMoments(fakes.features)
    found = frechet_infinity(moments[0].whole, fakes.features, smallest=smallest, points=POINTS)
    for each in (reals, fakes):
        each.release()
    interval = None
    if min(moments[0].whole.count, moments[1].whole.count) >= FEW:
        # Two independent errors: that of the distance of all images, and that of the line through the subsets.
        sampled = frechet_interval(*moments, level=_LEVEL)
        fitted = student_quantile(_LEVEL, len(found.sizes) - 2) * found.standard_error
        reach = math.hypot((sampled.high - sampled.low) / 2, fitted)
        interval = Interval(value=found.value, low=found.value - reach, high=found.value + reach, level=_LEVEL)
    # Earlier intervals were those of the line alone, and too narrow to be compared with.
    parameters = {"smallest": smallest, "points": len(found.sizes), "interval": "of distance and line"}
    return [
        Measured(
            name="fid-infinity",
            value=found.value,
            interval=interval,
            better="lower",
            parameters=parameters,
            details=asdict(found),
        )
    ]


def measure_kernel(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """The kernel distance; see `ganforge.evaluation.statistics.kernel_distance`."""
    size = min(1000, len(reals), len(fakes))
    found = kernel_distance(reals.features, fakes.features, subset_size=size, level=_LEVEL)
    # Of disjoint blocks, whose mean is another estimate of the same distance; its width is what counts here.
    reach = (found.interval.high - found.interval.low) / 2
    interval = Interval(value=found.mean, low=found.mean - reach, high=found.mean + reach, level=_LEVEL)
    return [
        Measured(
            name="kid",
            value=found.mean,
            interval=_unless_few(interval, reals, fakes),
            better="lower",
            parameters={"subset_size": size, "subsets": 100},
            details={"deviation_of_subsets": found.deviation},
        )
    ]


def measure_inception_score(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """The inception score, of generated images alone; see `ganforge.evaluation.statistics.inception_score`."""
    if fakes.logits is None:
        raise OptionError("--is needs a classifier, and this extractor gives no logits", "leave it out")
    splits = min(10, len(fakes))
    found = inception_score(fakes.logits, splits=splits)
    interval = None
    if len(fakes) >= FEW:
        # Halves have half the splits, so that these are as large: the score grows with the images of a split.
        draws = [inception_score(half, splits=splits // 2).mean for (half,) in half_samples(fakes.logits)]
        interval = spread_interval(found.mean, draws, level=_LEVEL).within(1)
    return [
        Measured(
            name="is",
            value=found.mean,
            interval=interval,
            better="higher",
            parameters={"splits": splits},
            details={"deviation_of_splits": found.deviation},
        )
    ]


def measure_manifold(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Precision, recall, density and coverage; see `precision_recall_density_coverage`."""
    sets = []
    for each in (reals, fakes):
        sets.append(_some(each.features, MANIFOLD_IMAGES))
        each.release()
    found = asdict(precision_recall_density_coverage(*sets))
    halves = half_samples(*sets) if min(map(len, sets)) >= FEW else ()
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
                most=math.inf if name == "density" else 1.0,  # how many balls hold an image has no end
                level=_LEVEL,
            )
            if draws
            else None,
            better="higher",
            parameters=parameters | ({"balls": "open"} if name in ("density", "coverage") else {}),
        )
        for name, value in found.items()
    ]


MEASURES: dict[str, Callable[[FeatureSet, FeatureSet], list[Measured]]] = {
    "fid": measure_frechet,
    "fid-infinity": measure_frechet_infinity,
    "kid": measure_kernel,
    "is": measure_inception_score,
    "prc": measure_manifold,
}
"""By the name that a user asks for; each compares features of real images with those of generated ones."""


LEAST_IMAGES = {"fid": 2, "fid-infinity": 4, "kid": 4, "is": 2, "prc": 6}
"""Images of each set below which a metric is not defined."""


def _some(features: Tensor, count: int) -> Tensor:
    """As many rows as asked for, in their order, the same ones each time; all if there are no more."""
    if len(features) <= count:
        return features
    return features[torch.from_numpy(np.sort(np.random.RandomState(0).permutation(len(features))[:count]))]


def _unless_few(interval: Interval, reals: FeatureSet, fakes: FeatureSet) -> Interval | None:
    return interval if min(len(reals), len(fakes)) >= FEW else None
