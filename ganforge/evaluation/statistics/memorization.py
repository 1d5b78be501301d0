"""Whether a generator copies: generated images, and images held out of training, by their nearest training image."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.features import check_dimensions, check_features
from ganforge.evaluation.statistics.intervals import Interval, half_samples, share_interval
from ganforge.evaluation.statistics.neighbors import nearest


@dataclass(frozen=True, kw_only=True)
class Memorization:
    """How near generated images lie to the training set, beside images that were never shown.

    Attributes:
        generated: Mean distance of a generated image from its nearest training image.
        held_out: The same of a held-out image. A generator that copies has a smaller one.
        threshold: The `quantile` of the distances of held-out images.
        duplicates: Share of generated images that are nearer than `threshold`, or as near: about `quantile` for images
            that are like held-out ones, and 1 for copies.
        copying: The z-score of the Mann-Whitney test that generated images are further away than held-out ones: about
            normal with deviation 1 for images like held-out ones, far below 0 for copies, far above 0 for images that
            are off.
    """

    generated: float
    held_out: float
    threshold: float
    duplicates: float
    copying: float


def memorization(fakes: Tensor, held_out: Tensor, training: Tensor, *, quantile: float = 0.05) -> Memorization:
    """Compare nearest distances to the training set.

    `copying` is the statistic of Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying in Generative
    Models" (arXiv:2004.05675), with all of space for its one cell; ties are halved, as is usual for the test.

    Args:
        fakes: Features ``[N, D]`` of generated images, of any float type.
        held_out: Features ``[M, D]`` of real images that were not trained on.
        training: Features ``[K, D]`` of the images that were.
        quantile: Of the held-out distances, in (0, 1).

    Raises:
        DataError: One is no set of features, held-out images are fewer than 2, or dimensions differ.
        OptionError: `quantile` is out of range.
    """
    check_features("generated features", fakes, least=1)
    check_features("held-out features", held_out, least=2)
    check_features("training features", training, least=1)
    for others in (held_out, training):
        check_dimensions(others.shape[1], fakes.shape[1])
    _check_quantile(quantile, len(held_out))
    ours, theirs = (nearest(each, training).distances[:, 0] for each in (fakes, held_out))
    return compare_distances(ours, theirs, quantile=quantile)


def compare_distances(generated: Tensor, held_out: Tensor, *, quantile: float = 0.05) -> Memorization:
    """The same as `memorization` from distances that are known, each of an image from its nearest training image.

    Args:
        generated: Of generated images, float64 ``[N]``.
        held_out: Of real images that were not trained on, float64 ``[M]``; or of training images, each from its nearest
            other one.
        quantile: Of `held_out`, in (0, 1).

    Raises:
        DataError: There are too few of `held_out` for the quantile.
        OptionError: `quantile` is out of range.
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
    """The interval of `Memorization.duplicates`, by random halves of both sets of distances; see `share_interval`.

    Args:
        generated: As for `compare_distances`, 4 or more.
        held_out: Likewise.
        quantile: Of `held_out`, in (0, 1).
        level: Confidence in (0, 1).
    """
    columns = (each.cpu()[:, None] for each in (generated, held_out))
    draws = [_duplicates(ours[:, 0], theirs[:, 0], quantile) for ours, theirs in half_samples(*columns)]
    share = _duplicates(generated.cpu(), held_out.cpu(), quantile)
    return share_interval(share, len(generated), draws=draws, level=level)


def mann_whitney(first: Tensor, second: Tensor) -> float:
    """The z-score of how often a number of the first is larger than one of the second; ties count half.

    Mann and Whitney 1947, "On a Test of Whether one of Two Random Variables is Stochastically Larger than the Other",
    with the variance for ties; 0 if all numbers are equal.

    Args:
        first: Numbers ``[N]``.
        second: Numbers ``[M]``.
    """
    ordered = second.sort().values
    first = first.contiguous()  # torch warns of others, such as a column of a table
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
            f"the {quantile} quantile of {count} held-out images rests on none of them",
            f"hold out {math.ceil(1 / quantile)} or more",
        )
