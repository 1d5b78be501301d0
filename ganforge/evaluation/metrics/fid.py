"""Frechet distance (FID with the published Inception weights), and its extrapolation to infinitely many samples."""

from __future__ import annotations

import math
from dataclasses import asdict

from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import (
    MIN_FOR_INTERVAL,
    GroupedMoments,
    Interval,
    frechet_infinity,
    frechet_interval,
    frechet_of_few,
    half_sample_interval,
    student_quantile,
)

POINTS = 15
"""Subsets of the extrapolation; it needs this many generated images more than dimensions."""


def measure_fid(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return the Frechet distance; see `ganforge.evaluation.statistics.frechet_distance`."""
    sets = [reals.features, fakes.features]
    if min(map(len, sets)) < MIN_FOR_INTERVAL:
        return [Measured(name="fid", value=frechet_of_few(*sets), better="lower")]
    if max(map(len, sets)) <= reals.features.shape[1]:
        interval = half_sample_interval(frechet_of_few, *sets)
    else:
        moments = []
        for each in (reals, fakes):
            moments.append(GroupedMoments(each.features))
            each.release()
        interval = frechet_interval(*moments)
    return [Measured(name="fid", value=interval.value, interval=interval.within(0), better="lower")]


def measure_fid_infinity(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return the Frechet distance without the bias by the number of generated images; see `frechet_infinity`."""
    smallest = max(fakes.features.shape[1] + 1, len(fakes) // 10)
    moments = GroupedMoments(reals.features), GroupedMoments(fakes.features)
    found = frechet_infinity(moments[0].whole, fakes.features, smallest=smallest, points=POINTS)
    for each in (reals, fakes):
        each.release()
    interval = None
    if min(moments[0].whole.count, moments[1].whole.count) >= MIN_FOR_INTERVAL:
        # Two independent errors: of the distance of all images, and of the line through the subsets.
        sampled = frechet_interval(*moments)
        fitted = student_quantile(sampled.level, len(found.sizes) - 2) * found.standard_error
        reach = math.hypot((sampled.high - sampled.low) / 2, fitted)
        interval = Interval(value=found.value, low=found.value - reach, high=found.value + reach, level=sampled.level)
    # Earlier versions gave the interval of the line alone, which is not comparable.
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
