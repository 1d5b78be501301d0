"""Frechet distance of two normal distributions, and its limit for infinitely many images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.features import ROWS, check_dimensions, check_features, check_pair, to_float64
from ganforge.evaluation.statistics.intervals import Interval, spread_interval
from ganforge.evaluation.statistics.moments import Moments

_GROUPS = 8
_EPSILON = torch.finfo(torch.float64).eps


def frechet_distance(reals: Moments, fakes: Moments) -> float:
    """Return the squared Frechet distance ``|m1 - m2|^2 + Tr(S1 + S2 - 2 sqrt(S1 S2))``.

    Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium". The trace
    of the root is the sum of the roots of the eigenvalues of the symmetric ``L^T S2 L``, with ``S1 = L L^T``. Singular
    covariances, such as those of fewer images than dimensions, are not regularized.

    Args:
        reals: Moments of real features, 2 rows or more.
        fakes: Moments of generated features, likewise.

    Returns:
        0 or more, up to rounding; lower is better.
    """
    _check_moments("real", reals)
    _check_moments("generated", fakes)
    check_dimensions(reals.dimensions, fakes.dimensions)
    return _distance(reals, _root(reals), fakes)


def frechet_of_few(reals: Tensor, fakes: Tensor) -> float:
    """Return `frechet_distance` of features ``[N, D]`` and ``[M, D]``; faster for fewer rows than dimensions.

    The trace of the root is the sum of the singular values of the product of the centered sets. Memory and time grow
    with N and M instead of D squared.
    """
    check_pair(reals, fakes, least=2)
    first, second = to_float64(reals), to_float64(fakes)
    shift = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    left, right = ((each - each.mean(dim=0)) / math.sqrt(len(each) - 1) for each in (first, second))
    shared = torch.linalg.svdvals(left @ right.T).sum()
    return max(float(shift + left.square().sum() + right.square().sum() - 2 * shared), 0.0)


class GroupedMoments:
    """Moments of features ``[N, D]``, N of 4 or more: of all rows, and of up to 8 random groups of equal size."""

    def __init__(self, features: Tensor, *, seed: int = 0) -> None:
        check_features("features", features, least=4)
        order = np.random.RandomState(seed).permutation(len(features))
        parts = np.array_split(order, min(_GROUPS, len(features) // 2))
        self.groups = [Moments.of(features[torch.from_numpy(np.sort(part)).to(features.device)]) for part in parts]
        self.whole = self.merged(range(len(self.groups)))

    def merged(self, chosen: Iterable[int]) -> Moments:
        """Return the moments of several groups together."""
        total = Moments(self.groups[0].dimensions, self.groups[0].mean.device)
        for index in chosen:
            total.merge(self.groups[index])
        return total


def frechet_interval(
    reals: GroupedMoments, fakes: GroupedMoments, *, draws: int = 20, level: float = 0.95, seed: int = 0
) -> Interval:
    """Return the Frechet distance with an interval from random halves of the groups; see `half_sample_interval`."""
    source = np.random.RandomState(seed)

    def half(each: GroupedMoments) -> Moments:
        count = len(each.groups)
        moments = each.merged(source.permutation(count)[: count // 2].tolist())
        if moments.count < 2:
            raise DataError(f"half of {each.whole.count} images", "an interval needs 4 images or more")
        return moments

    value = frechet_distance(reals.whole, fakes.whole)
    return spread_interval(value, [frechet_distance(half(reals), half(fakes)) for _ in range(draws)], level=level)


@dataclass(frozen=True, kw_only=True)
class FrechetInfinity:
    """Frechet distance without the bias by the number of generated images.

    Attributes:
        value: Intercept of the line through `distances` by 1/N; may be negative.
        standard_error: Standard error of the intercept, by least squares. It does not include the error by the choice
            of images; see `frechet_interval`.
        slope: Slope of the line; the bias at N images is about ``slope / N``.
        sizes: N of each subset.
        distances: Frechet distance of each subset.
    """

    value: float
    standard_error: float
    slope: float
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    reals: Moments, fakes: Tensor, *, smallest: int = 5000, points: int = 15, seed: int = 0
) -> FrechetInfinity:
    """Extrapolate the Frechet distance to infinitely many generated images.

    Chong and Forsyth 2020, "Effectively Unbiased FID and Inception Score and where to find them" (arXiv:1911.07023),
    with the paper's defaults. The bias by the number of real images remains.

    Args:
        reals: Moments of real features.
        fakes: Generated features ``[N, D]`` of any float type.
        smallest: Images in the smallest subset, more than D: below, the distance is not linear in 1/N.
        points: Subsets, 3 or more, evenly spaced from `smallest` to all images.
        seed: Seed of the subsets.
    """
    check_features("generated features", fakes, least=2)
    _check_moments("real", reals)
    check_dimensions(reals.dimensions, fakes.shape[1])
    if points < 3:
        raise OptionError(f"a line through {points} points has no error", "use 3 or more")
    least, most = fakes.shape[1] + 1, len(fakes) - points + 1
    if not least <= smallest <= most:
        raise OptionError(
            f"the smallest of {points} subsets cannot have {smallest} of {len(fakes)} images",
            f"it may have {least} to {most}"
            if least <= most
            else f"features of {fakes.shape[1]} dimensions need {least + points - 1} images or more",
        )
    source = np.random.RandomState(seed)
    sizes = [round(size) for size in np.linspace(smallest, len(fakes), points)]
    root, distances = _root(reals), []
    for size in sizes:
        subset = Moments(reals.dimensions, reals.mean.device)
        for rows in torch.split(torch.from_numpy(source.permutation(len(fakes))[:size]), ROWS):
            subset.update(fakes[rows.to(fakes.device)])
        distances.append(_distance(reals, root, subset))
    return _fit(sizes, distances)


def _fit(sizes: list[int], distances: list[float]) -> FrechetInfinity:
    inverse, values = 1 / np.array(sizes, dtype=np.float64), np.array(distances)
    spread = np.square(inverse - inverse.mean()).sum()
    slope = ((inverse - inverse.mean()) * (values - values.mean())).sum() / spread
    intercept = values.mean() - slope * inverse.mean()
    variance = np.square(values - intercept - slope * inverse).sum() / (len(sizes) - 2)
    return FrechetInfinity(
        value=float(intercept),
        standard_error=math.sqrt(variance * (1 / len(sizes) + inverse.mean() ** 2 / spread)),
        slope=float(slope),
        sizes=tuple(sizes),
        distances=tuple(distances),
    )


def _distance(reals: Moments, root: Tensor, fakes: Moments) -> float:
    """Return the distance, given `_root` of the first covariance."""
    device = root.device
    covariance = fakes.covariance.to(device)
    values: Tensor = torch.linalg.eigvalsh(root.T @ covariance @ root)
    # Eigenvalues beyond the rank of `covariance` are rounding errors, whose roots would add up.
    shared = values[-min(fakes.count - 1, fakes.dimensions) :].clamp(min=0).sqrt().sum()
    shift = (reals.mean - fakes.mean.to(device)).square().sum()
    distance = shift + reals.covariance.trace() + covariance.trace() - 2 * shared
    return max(float(distance), 0.0)


def _root(moments: Moments) -> Tensor:
    """Return ``[D, R]`` whose product with its transpose is the covariance of rank R."""
    covariance = moments.covariance
    rank = min(moments.count - 1, moments.dimensions)
    lost = (moments.dimensions + 100) * _EPSILON  # rounding of the product and of the covariance
    if rank == moments.dimensions:
        triangle: Tensor
        triangle, failed = torch.linalg.cholesky_ex(covariance)
        # Small pivots may be rounding errors of a singular covariance: then use eigenvalues.
        if not failed and bool((triangle.diagonal().square() > _EPSILON**0.5 * covariance.diagonal()).all()):
            return triangle
    values, vectors = (each[..., -rank:] for each in torch.linalg.eigh(covariance))
    kept = values > lost * values[-1]
    root: Tensor = vectors[:, kept] * values[kept].sqrt()
    return root


def _check_moments(name: str, moments: Moments) -> None:
    if moments.count < 2:
        raise DataError(
            f"{name} features are of {moments.count} image{'s' * (moments.count != 1)}",
            "a Frechet distance needs 2 or more, and about 10,000 to be reliable",
        )
