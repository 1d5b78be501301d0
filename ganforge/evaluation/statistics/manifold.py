"""Precision, recall, density and coverage."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.evaluation.statistics.features import blocks, check_pair
from ganforge.evaluation.statistics.neighbors import center_of, exact_squares, nearest_squares, squared_distances

_PAIRS = 2048


@dataclass(frozen=True, kw_only=True)
class ManifoldScores:
    """Overlap of two sets; the ball of an image reaches to its k-th nearest neighbor in its own set.

    Attributes:
        precision: Share of generated images in a real image's closed ball.
        recall: Share of real images in a generated image's closed ball.
        density: Mean number of open real balls around a generated image, divided by k; may exceed 1.
        coverage: Share of real images with a generated one in their open ball.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall_density_coverage(
    reals: Tensor, fakes: Tensor, *, neighbors: int = 3, coverage_neighbors: int = 5
) -> ManifoldScores:
    """Return precision, recall, density and coverage of two sets of features.

    Precision and recall: Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative
    Models" (arXiv:1904.06991). Density and coverage: Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for
    Generative Models" (arXiv:2002.09797). Defaults and the open and closed balls follow the papers' code. All four
    depend on the number of images: compare equal ones. Memory beside the features is about 0.35 GB at D = 2048.

    Args:
        reals: Features ``[N, D]`` of any float type.
        fakes: Features ``[M, D]``.
        neighbors: k of precision and recall, less than N and M.
        coverage_neighbors: k of density and coverage, less than N.
    """
    check_pair(reals, fakes, least=2)
    _check_neighbors("precision and recall", neighbors, min(len(reals), len(fakes)) - 1)
    _check_neighbors("density and coverage", coverage_neighbors, len(reals) - 1)
    most = max(neighbors, coverage_neighbors)
    _, around_reals = nearest_squares(reals, reals, most, others_only=True)
    _, around_fakes = nearest_squares(fakes, fakes, neighbors, others_only=True)
    narrow, wide = around_reals[:, neighbors - 1], around_reals[:, coverage_neighbors - 1]
    device, center = around_reals.device, center_of(reals)
    recalled, covered = (torch.zeros(len(reals), dtype=torch.bool, device=device) for _ in range(2))
    precise = dense = 0
    for start, rows in blocks(fakes):
        rows = rows.to(device)
        reach = around_fakes[start : start + len(rows), -1].to(device)
        inside = torch.zeros(len(rows), dtype=torch.bool, device=device)
        for first, others in blocks(reals):
            part = slice(first, first + len(others))
            squares, slack = squared_distances(rows, others, center)
            inside |= _within(squares, slack, narrow[part], rows, others).any(dim=1)
            recalled[part] |= _within(squares, slack, reach[:, None], rows, others).any(dim=0)
            near = _within(squares, slack, wide[part], rows, others, is_open=True)
            covered[part] |= near.any(dim=0)
            dense += int(near.sum())
        precise += int(inside.sum())
    return ManifoldScores(
        precision=precise / len(fakes),
        recall=recalled.double().mean().item(),
        density=dense / (coverage_neighbors * len(fakes)),
        coverage=covered.double().mean().item(),
    )


def _within(
    squares: Tensor, slack: Tensor, reach: Tensor, rows: Tensor, others: Tensor, *, is_open: bool = False
) -> Tensor:
    """Return which pairs ``[N, M]`` are within the root of `reach`; pairs near the limit are computed exactly."""
    inside = squares < reach if is_open else squares <= reach
    doubtful = ((squares - reach).abs() < slack).nonzero()
    for left, right in (pairs.unbind(dim=1) for pairs in torch.split(doubtful, _PAIRS)):
        exact, limit = exact_squares(rows[left], others, right), reach.expand_as(squares)[left, right]
        inside[left, right] = exact < limit if is_open else exact <= limit
    return inside


def _check_neighbors(what: str, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise OptionError(f"{what} by {count} nearest neighbors in {most + 1} images", f"take 1 to {most}")
