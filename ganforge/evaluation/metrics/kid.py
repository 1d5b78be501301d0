"""Kernel distance (KID with the published Inception weights)."""

from __future__ import annotations

from dataclasses import replace

from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import MIN_FOR_INTERVAL, kernel_distance


def measure_kid(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return the kernel distance; see `ganforge.evaluation.statistics.kernel_distance`."""
    smaller = min(len(reals), len(fakes))
    size = min(1000, smaller)
    found = kernel_distance(reals.features, fakes.features, subset_size=size)
    # The interval of disjoint blocks has another center; its width is that of the mean over subsets.
    reach = (found.interval.high - found.interval.low) / 2
    interval = replace(found.interval, value=found.mean, low=found.mean - reach, high=found.mean + reach)
    return [
        Measured(
            name="kid",
            value=found.mean,
            interval=interval if smaller >= MIN_FOR_INTERVAL else None,
            better="lower",
            parameters={"subset_size": size, "subsets": 100},
            details={"deviation_of_subsets": found.deviation},
        )
    ]
