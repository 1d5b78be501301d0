"""How far a value may be off: intervals by resampling, and over several seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.features import check_features


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and an interval of confidence.

    Attributes:
        value: The estimate.
        low: Lower end.
        high: Upper end.
        level: Confidence in (0, 1).
    """

    value: float
    low: float
    high: float
    level: float

    def within(self, low: float, high: float = math.inf) -> Interval:
        """The part of it where the true value can lie."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))


def bootstrap_interval(
    statistic: Callable[..., float], *sets: Tensor, draws: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The percentile bootstrap: quantiles of a statistic over sets drawn anew, with replacement, from the given ones.

    Efron 1979, "Bootstrap Methods: Another Look at the Jackknife". For means, shares and the inception score. What
    compares images with one another sees the repeated ones: that moves a Frechet or kernel distance up, and precision,
    recall and coverage down, by more than the interval is wide. For these take `half_sample_interval`.

    Args:
        statistic: From as many tensors to a number.
        sets: Features ``[N, D]``; rows of each are drawn apart from the others'.
        draws: How often, 2 or more.
        level: Confidence in (0, 1).
        seed: Of the draws.

    Raises:
        DataError: See `check_features`, or the statistic is not finite.
        OptionError: `draws` or `level` is out of range.
    """
    _check_level(level)
    if draws < 2:
        raise OptionError(f"{draws} draws give no interval", "take 2 or more; 1000 are usual")
    for features in sets:
        check_features("features", features)
    source, found = np.random.RandomState(seed), np.empty(draws)
    value = float(statistic(*sets))
    for draw in range(draws):
        rows = [torch.from_numpy(source.randint(len(each), size=len(each))) for each in sets]
        found[draw] = statistic(*(each[chosen.to(each.device)] for each, chosen in zip(sets, rows, strict=True)))
    if not np.isfinite([value, *found]).all():
        raise DataError("a statistic is not finite on all resampled sets", "there are too few images for it")
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value=value, low=float(low), high=float(high), level=level)


def half_sample_interval(
    statistic: Callable[..., float], *sets: Tensor, draws: int = 20, level: float = 0.95, seed: int = 0
) -> Interval:
    """An interval from random halves of the sets, in which no image comes twice.

    Politis and Romano 1994, "Large Sample Confidence Regions Based on Subsamples under Minimal Assumptions". Values of
    halves spread about their mean as values of whole sets do about theirs, if the variance falls as 1/N; where it falls
    faster, as for distances of nearly equal distributions, the interval is too wide. It is of what the statistic is on
    average for as many images, with the bias that it then has.

    Args:
        statistic: From as many tensors to a number.
        sets: Features ``[N, D]`` of 4 rows or more; halves of each are drawn apart from the others'.
        draws: How often, 2 or more.
        level: Confidence in (0, 1).
        seed: Of the draws.

    Raises:
        DataError: See `check_features`, or the statistic is not finite.
        OptionError: `draws` or `level` is out of range.
    """
    found = [float(statistic(*halves)) for halves in half_samples(*sets, draws=draws, seed=seed)]
    return spread_interval(float(statistic(*sets)), found, level=level)


def half_samples(*sets: Tensor, draws: int = 20, seed: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Random halves of sets, drawn without replacement and apart from each other; see `half_sample_interval`.

    Args:
        sets: Features ``[N, D]`` of 4 rows or more.
        draws: How often.
        seed: Of the draws.

    Raises:
        DataError: See `check_features`.
    """
    for features in sets:
        check_features("features", features, least=4)
    source = np.random.RandomState(seed)
    for _ in range(draws):
        rows = [torch.from_numpy(source.permutation(len(each))[: len(each) // 2]) for each in sets]
        yield tuple(each[chosen.to(each.device)] for each, chosen in zip(sets, rows, strict=True))


def spread_interval(value: float, draws: Sequence[float], *, level: float = 0.95) -> Interval:
    """Student's interval about a value whose error is spread as other draws of it are.

    Args:
        value: The estimate.
        draws: 2 or more, taken to be normally distributed; what they are on average does not matter.
        level: Confidence in (0, 1).

    Raises:
        DataError: One is not finite.
        OptionError: There are fewer than 2 draws, or `level` is out of range.
    """
    _check_level(level)
    _check_draws(value, draws)
    reach = student_quantile(level, len(draws) - 1) * float(np.std(draws, ddof=1))
    return Interval(value=value, low=value - reach, high=value + reach, level=level)


def seed_interval(values: Sequence[float], *, level: float = 0.95) -> Interval:
    """Student's interval about the mean of independent values, such as those of a run repeated with other seeds.

    Args:
        values: 2 or more, taken to be normally distributed.
        level: Confidence in (0, 1).

    Raises:
        DataError: There are fewer than 2, or one is not finite.
        OptionError: `level` is out of range.
    """
    _check_level(level)
    if len(values) < 2:
        raise DataError(f"an interval over {len(values)} value{'s' * (len(values) != 1)}", "2 or more are needed")
    if not np.isfinite(values).all():
        raise DataError(f"not all of {len(values)} values are finite", "leave out runs that have none")
    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    reach = student_quantile(level, len(values) - 1) * deviation / math.sqrt(len(values))
    return Interval(value=mean, low=mean - reach, high=mean + reach, level=level)


def share_interval(
    share: float, count: int, *, draws: Sequence[float] = (), most: float = 1.0, level: float = 0.95
) -> Interval:
    """Wilson's score interval of a share with continuity correction, which has no zero width at 0 and 1.

    Newcombe 1998, "Two-Sided Confidence Intervals for the Single Proportion", method 4: without the correction shares
    near 0 and 1 are covered too rarely. Where the share depends on more
    than `count` independent trials, `draws` tell its variance, and the effective number of trials takes the place of
    `count` (Korn and Graubard 1998, "Confidence Intervals for Proportions with Small Expected Number of Positive
    Counts"). Without an upper end of the range it is the score interval of a Poisson mean.

    Args:
        share: In [0, `most`].
        count: Number of trials, 1 or more.
        draws: Values of random halves, see `half_samples`; 2 or more, or none for independent trials.
        most: Upper end of the range, above 0; infinite for a mean count.
        level: Confidence in (0, 1).

    Raises:
        DataError: The share is of nothing or out of range, or a draw is not finite.
        OptionError: `level` is out of range, or there is 1 draw.
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
        """A root x of ``(center - x)^2 = reach^2 unit x (1 - x / most)``."""
        center, wide = min(max(share + sign * unit / 2, 0.0), most), reach**2 * unit
        width = math.sqrt(wide * (wide + 4 * center * (1 - center / most)))
        return (2 * center + wide + sign * width) / (2 + 2 * wide / most)

    return Interval(value=share, low=min(share, max(0.0, end(-1))), high=max(share, min(most, end(1))), level=level)


def student_quantile(level: float, freedom: int) -> float:
    """The t with ``P(|T| <= t) = level`` for Student's distribution.

    Args:
        level: In (0, 1).
        freedom: Degrees of freedom, 1 or more.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if _student(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _student(angle: float, freedom: int) -> float:
    """``P(|T| <= sqrt(freedom) tan(angle))``: the closed form of Abramowitz and Stegun 1964, 26.7.3 and 26.7.4."""
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
