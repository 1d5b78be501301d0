"""Inception score."""

from __future__ import annotations

from ganforge.contract.errors import OptionError
from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import MIN_FOR_INTERVAL, half_samples, inception_score, spread_interval


def measure_inception_score(reals: FeatureSet, fakes: FeatureSet) -> list[Measured]:
    """Return the inception score of the generated images; see `ganforge.evaluation.statistics.inception_score`."""
    if fakes.logits is None:
        raise OptionError("--is needs a classifier, and this extractor gives no logits", "leave it out")
    splits = min(10, len(fakes))
    found = inception_score(fakes.logits, splits=splits)
    interval = None
    if len(fakes) >= MIN_FOR_INTERVAL:
        # The score grows with the images per split, so halves have half the splits.
        draws = [inception_score(half, splits=splits // 2).mean for (half,) in half_samples(fakes.logits)]
        interval = spread_interval(found.mean, draws).within(1)
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
