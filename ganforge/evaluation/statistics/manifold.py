"""Precision, recall, density and coverage: whether images lie among the real ones, and the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.evaluation.statistics.features import blocks, check_pair
from ganforge.evaluation.statistics.neighbors import centre_of, exact_squares, nearest_squares, squared_distances

_PAIRS = 2048


@dataclass(frozen=True, kw_only=True)
class ManifoldScores:
    """How two sets lie to each other, where the ball of an image reaches to its k-th nearest neighbour in its own set.

    Attributes:
        precision: Share of generated images that lie in a real image's ball, closed.
        recall: Share of real images that lie in a generated image's ball, closed.
        density: In how many open balls of real images a generated one lies, on average, divided by k; it may exceed 1.
        coverage: Share of real images in whose open ball a generated one lies.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(
    reals: Tensor, fakes: Tensor, *, neighbours: int = 3, coverage_neighbours: int = 5
) -> ManifoldScores:
    """Compare two sets by balls about their features.

    Precision and recall: Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
    Models" (arXiv:1904.06991). Density and coverage: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for
    Generative Models" (arXiv:2002.09797). The defaults are those of the papers.

    As in the code of the papers' authors, balls of precision and recall are closed and those of density and coverage
    open: an image as far as the k-th neighbour lies inside the former only. All four depend on the numbers of images:
    compare equal ones. Memory beside the features is about 0.35 GB at D = 2048, for any number of images.

    Args:
        reals: Features ``[N, D]`` of any float type.
        fakes: Features ``[M, D]``.
        neighbours: k of precision and recall, less than N and M.
        coverage_neighbours: k of density and coverage, less than N.

    Raises:
        DataError: See `check_pair`.
        OptionError: There are too few images for so many neighbours.
    """
    check_pair(reals, fakes, least=2)
    _check_neighbours("precision and recall", neighbours, min(len(reals), len(fakes)) - 1)
    _check_neighbours("density and coverage", coverage_neighbours, len(reals) - 1)
    most = max(neighbours, coverage_neighbours)
    _, around_reals = nearest_squares(reals, reals, most, others_only=True)
    _, around_fakes = nearest_squares(fakes, fakes, neighbours, others_only=True)
    narrow, wide = around_reals[:, neighbours - 1], around_reals[:, coverage_neighbours - 1]
    device, centre = around_reals.device, centre_of(reals)
    recalled, covered = (torch.zeros(len(reals), dtype=torch.bool, device=device) for _ in range(2))
    precise = dense = 0
    for start, rows in blocks(fakes):
        rows = rows.to(device)
        reach = around_fakes[start : start + len(rows), -1].to(device)
        inside = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for first, others in blocks(reals):
            part = slice(first, first + len(others))
            squares, slack = squared_distances(rows, others, centre)
            inside |= _within(squares, slack, narrow[part], rows, others).any(dim=1)
            recalled[part] |= _within(squares, slack, reach[:, None], rows, others).any(dim=0)
            near = _within(squares, slack, wide[part], rows, others, is_open=True)
            covered[part] |= near.any(dim=0)
            dense += int(near.sum())
        precise += int(inside.sum())
    return ManifoldScores(
        precision=precise / len(fakes),
        recall=recalled.double().mean().item(),
        density=dense / (coverage_neighbours * len(fakes)),
        coverage=covered.double().mean().item(),
    )


def _within(
    squares: Tensor, slack: Tensor, reach: Tensor, rows: Tensor, others: Tensor, *, is_open: bool = False
) -> Tensor:
    """Which pairs ``[N, M]`` are no further apart than the root of `reach`; nearer, if balls are open.

    Where rounding could decide, the distance is computed anew, as those that `reach` is made of were.
    """
    inside = squares < reach if is_open else squares <= reach
    doubtful = ((squares - reach).abs() < slack).nonzero()
    for left, right in (pairs.unbind(dim=1) for pairs in torch.split(doubtful, _PAIRS)):
        exact, limit = exact_squares(rows[left], others, right), reach.expand_as(squares)[left, right]
        inside[left, right] = exact < limit if is_open else exact <= limit
    return inside


def _check_neighbours(what: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise OptionError(f"{what} by {count} nearest neighbours in {most + 1} images", f"take 1 to {most}")
