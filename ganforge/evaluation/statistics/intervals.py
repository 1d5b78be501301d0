"""Confidence intervals by resampling and over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.contract.metric import Interval as Interval
from ganforge.evaluation.statistics.features import check_features

MIN_FOR_INTERVAL = 20
"""Minimum number of images for an interval."""


def half_sample_interval(
    statistic: Callable[..., float], *sets: Tensor, draws: int = 20, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return a statistic with an interval from random halves of the sets, drawn without replacement.

    Politis and Romano 1994, "Large Sample Confidence Regions Based on Subsamples under Minimal Assumptions". Values of
    halves spread like those of whole sets if the variance falls as 1/N; the interval is too wide where it falls faster,
    as for distances of nearly equal distributions. The interval includes the bias for this number of images.

    Args:
        statistic: Function from as many tensors to a number.
        sets: Features ``[N, D]`` of 4 rows or more; halves of each set are independent.
        draws: Number of halves, 2 or more.
        level: Confidence in (0, 1).
        seed: Seed of the draws.
    """
    found = [float(statistic(*halves)) for halves in half_samples(*sets, draws=draws, seed=seed)]
    return spread_interval(float(statistic(*sets)), found, level=level)


def half_samples(*sets: Tensor, draws: int = 20, seed: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Yield `draws` independent random halves of sets ``[N, D]`` of 4 rows or more; see `half_sample_interval`."""
    for features in sets:
        check_features("features", features, least=4)
    source = np.random.RandomState(seed)
    for _ in range(draws):
        rows = [torch.from_numpy(source.permutation(len(each))[: len(each) // 2]) for each in sets]
        yield tuple(each[chosen.to(each.device)] for each, chosen in zip(sets, rows, strict=True))


def spread_interval(value: float, draws: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return Student's interval of a value whose error spreads like 2 or more normal draws of any mean."""
    _check_level(level)
    _check_draws(value, draws)
    reach = student_quantile(level, len(draws) - 1) * float(np.std(draws, ddof=1))
    return Interval(value=value, low=value - reach, high=value + reach, level=level)


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Return Student's interval of the mean of independent values, such as scores of seeds or of images."""
    _check_level(level)
    if len(values) < 2:
        raise DataError(f"an interval over {len(values)} value{'s' * (len(values) != 1)}", "2 or more are needed")
    if not np.isfinite(values).all():
        raise DataError(f"not all of {len(values)} values are finite", "leave out runs whose values are not")
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    reach = student_quantile(level, len(values) - 1) * deviation / math.sqrt(len(values))
    return Interval(value=mean, low=mean - reach, high=mean + reach, level=level)


def share_interval(
    share: float, count: int, *, draws: Sequence[float] = (), most: float = 1.0, level: float = 0.95
) -> Interval:
    """Return Wilson's score interval of a share with continuity correction, whose width is above 0 at 0 and 1.

    Newcombe 1998, "Two-Sided Confidence Intervals for the Single Proportion", method 4: without the correction,
    intervals of shares near 0 and 1 cover too rarely. If the trials are dependent, the variance of `draws` gives an
    effective number of trials (Korn and Graubard 1998, "Confidence Intervals for Proportions with Small Expected Number
    of Positive Counts"). With an infinite range, it is the score interval of a Poisson mean.

    Args:
        share: In [0, `most`].
        count: Number of trials, 1 or more.
        draws: Values of random halves, see `half_samples`; 2 or more, or none for independent trials.
        most: Upper end of the range, above 0; infinite for a mean count.
        level: Confidence in (0, 1).
    """
    _check_level(level)
    if count < 1 or not 0 <= share <= most:
        raise DataError(f"a share of {share} of {count}", f"it must be in [0, {most:g}], of 1 or more")
    reach, unit = NormalDist().inv_cdf((1 + level) / 2), 1 / count
    if draws:
        _check_draws(share, draws)
        reach, mean = student_quantile(level, len(draws) - 1), float(np.mean(draws))
        variance = float(np.var(draws, ddof=1))
        unit = max(unit, variance / (mean * (1 - mean / most))) if variance > 0 and 0 < mean < most else unit

    def end(sign: int) -> float:
        """Root x of ``(center - x)^2 = reach^2 unit x (1 - x / most)``."""
        center, wide = min(max(share + sign * unit / 2, 0.0), most), reach**2 * unit
        width = math.sqrt(wide * (wide + 4 * center * (1 - center / most)))
        return (2 * center + wide + sign * width) / (2 + 2 * wide / most)

    return Interval(value=share, low=min(share, max(0.0, end(-1))), high=max(share, min(most, end(1))), level=level)


def student_quantile(level: float, freedom: int) -> float:
    """Return t with ``P(|T| <= t) = level`` for Student's distribution of `freedom` degrees of freedom."""
    low, high = 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if _student(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _student(angle: float, freedom: int) -> float:
    """Return ``P(|T| <= sqrt(freedom) tan(angle))`` by Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= cosine * cosine * (power + 1) / (power + 2)
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _check_draws(value: float, draws: Sequence[float]) -> None:
    if len(draws) < 2:
        raise OptionError(f"{len(draws)} draws give no interval", "take 2 or more; 20 are usual")
    if not np.isfinite([value, *draws]).all():
        raise DataError("a statistic is not finite on all resampled sets", "there are too few images for it")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise OptionError(f"level {level}", "it must lie between 0 and 1; 0.95 is usual")
