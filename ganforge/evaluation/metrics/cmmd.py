"""CLIP maximum mean discrepancy."""

from __future__ import annotations

from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import MIN_FOR_INTERVAL, gaussian_discrepancy
from ganforge.evaluation.statistics.gaussian import SCALE, SIGMA


def measure_cmmd(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return the discrepancy; see `ganforge.evaluation.statistics.gaussian_discrepancy`."""
    found = gaussian_discrepancy(reals.features, fakes.features)
    return [
        Measured(
            name="cmmd",
            value=found.value,
            interval=found.interval if min(len(reals), len(fakes)) >= MIN_FOR_INTERVAL else None,
            better="lower",
            parameters={"sigma": SIGMA, "scale": SCALE, "estimate": "unbiased"},
            details={"biased": found.biased},
        )
    ]
