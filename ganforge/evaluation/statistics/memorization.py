"""Memorization: distances of generated and held-out images to their nearest training images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.intervals import Interval, half_samples, share_interval


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """Distances of generated images to the training set, compared with those of held-out images.

    Attributes:
        generated: Mean distance of a generated image to its nearest training image.
        held_out: Mean distance of a held-out image; larger than `generated` for a generator that copies.
        threshold: The `quantile` of the held-out distances.
        duplicates: Share of generated images within `threshold`: about `quantile` without memorization, 1 for copies.
        copying: z-score of the Mann-Whitney test that generated distances exceed held-out ones: standard normal without
            memorization, far below 0 for copies, far above 0 for bad images.
    """

    generated: float
    held_out: float
    threshold: float
    duplicates: float
    copying: float


def compare_distances(generated: Tensor, held_out: Tensor, *, quantile: float = 0.05) -> Memorization:
    """Compare distances to the nearest training image.

    `copying` is the statistic of Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying in Generative
    Models" (arXiv:2004.05675), with a single cell; ties count half.

    Args:
        generated: Distances of generated images, float64 ``[N]``.
        held_out: Distances of held-out images, float64 ``[M]``; or of training images to the nearest other one.
        quantile: Quantile of `held_out`, in (0, 1).
    """
    _check_quantile(quantile, len(held_out))
    ours, theirs = generated.cpu(), held_out.cpu()
    return Memorization(
        generated=ours.mean().item(),
        held_out=theirs.mean().item(),
        threshold=_threshold(theirs, quantile).item(),
        duplicates=_duplicates(ours, theirs, quantile),
        copying=mann_whitney(ours, theirs),
    )


def duplicates_interval(
    generated: Tensor, held_out: Tensor, *, quantile: float = 0.05, level: float = 0.95
) -> Interval:
    """Return the interval of `Memorization.duplicates` by random halves of 4 or more distances."""
    columns = (each.cpu()[:, None] for each in (generated, held_out))
    draws = [_duplicates(ours[:, 0], theirs[:, 0], quantile) for ours, theirs in half_samples(*columns)]
    share = _duplicates(generated.cpu(), held_out.cpu(), quantile)
    return share_interval(share, len(generated), draws=draws, level=level)


def mann_whitney(first: Tensor, second: Tensor) -> float:
    """Return the z-score of how often values ``[N]`` exceed other values ``[M]``; ties count half.

    Mann and Whitney 1947, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other",
    with the variance for ties; 0 if all values are equal.
    """
    ordered = second.sort().values
    first = first.contiguous()  # searchsorted warns otherwise
    below = torch.searchsorted(ordered, first).sum().item()
    below_or_equal = torch.searchsorted(ordered, first, right=True).sum().item()
    pairs, total = len(first) * len(second), len(first) + len(second)
    ties = torch.unique_consecutive(torch.cat([first, second]).sort().values, return_counts=True)[1].double()
    variance = pairs / 12 * (total + 1 - ((ties**3 - ties).sum().item() / (total * (total - 1))))
    return float(((below + below_or_equal - pairs) / 2) / math.sqrt(variance)) if len(ties) > 1 else 0.0


def _threshold(held_out: Tensor, quantile: float) -> Tensor:
    return held_out.sort().values[math.ceil(quantile * len(held_out)) - 1]


def _duplicates(generated: Tensor, held_out: Tensor, quantile: float) -> float:
    return (generated <= _threshold(held_out, quantile)).double().mean().item()


def _check_quantile(quantile: float, count: int) -> None:
    if not 0 < quantile < 1:
        raise OptionError(f"quantile {quantile}", "it must lie between 0 and 1; 0.05 is usual")
    if count * quantile < 1:
        raise DataError(
            f"the {quantile} quantile of {count} held-out images is below the first",
            f"hold out {math.ceil(1 / quantile)} or more",
        )
