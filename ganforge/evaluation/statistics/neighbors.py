"""Nearest neighbors among features, in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.features import blocks, check_features, to_float64


@dataclass(frozen=True, eq=False, kw_only=True)
class Nearest:
    """Nearest rows in ascending distance.

    Attributes:
        indices: Indices of the rows, int64 ``[N, K]``; ties are in any order.
        distances: Euclidean, float64 ``[N, K]``; exactly 0 for equal rows.
    """

    indices: Tensor
    distances: Tensor

    def besides(self, own: Tensor) -> Tensor:
        """Return the distance ``[N]`` of the nearest row other than `own` ``[N]``, of two neighbors."""
        # Duplicates may come before the row itself, at the same distance.
        return torch.where(self.indices[:, 0] == own, self.distances[:, 1], self.distances[:, 0])


def nearest(queries: Tensor, references: Tensor, *, count: int = 1) -> Nearest:
    """Find the nearest `references` of each query.

    Args:
        queries: ``[N, D]`` of any float type.
        references: ``[M, D]``.
        count: K, 1 to M.
    """
    check_features("queries", queries, least=1)
    check_features("references", references, least=1)
    if queries.shape[1] != references.shape[1]:
        raise DataError(
            f"queries have {queries.shape[1]} dimensions, references {references.shape[1]}",
            "both must come from one network",
        )
    if not 1 <= count <= len(references):
        raise OptionError(f"{count} nearest of {len(references)} rows", f"take 1 to {len(references)}")
    indices, squares = nearest_squares(queries, references, count)
    return Nearest(indices=indices, distances=squares.sqrt())


def nearest_squares(
    queries: Tensor, references: Tensor, count: int, *, others_only: bool = False
) -> tuple[Tensor, Tensor]:
    """Return indices ``[N, count]`` and squared distances in ascending order, of checked features ``[N, D]``, ``[M,
    D]``.

    Matrix products find the neighbors; their distances are computed from differences, without cancellation. With
    `others_only`, both sets are the same and a row is not its own neighbor.
    """
    center = center_of(references)
    found = []
    for start, rows in blocks(queries):
        best = torch.full((len(rows), 0), torch.inf, dtype=torch.float64, device=rows.device)
        chosen = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
        for first, others in blocks(references):
            squares, _ = squared_distances(rows, others, center)
            if others_only and first == start:
                squares.fill_diagonal_(torch.inf)
            near = squares.topk(min(count, len(others)), dim=1, largest=False)
            best, order = torch.cat([best, near.values], dim=1).sort(dim=1, stable=True)
            chosen = torch.cat([chosen, near.indices + first], dim=1).gather(1, order)
            best, chosen = best[:, :count], chosen[:, :count]
        exact = torch.stack([exact_squares(rows, references, column) for column in chosen.unbind(dim=1)], dim=1)
        exact, order = exact.sort(dim=1, stable=True)
        found.append((chosen.gather(1, order), exact))
    indices, distances = zip(*found, strict=True)
    return torch.cat(indices), torch.cat(distances)


def center_of(features: Tensor) -> Tensor:
    """Return the mean row, float64 ``[D]``: products about it lose the fewest digits."""
    sums = [rows.sum(dim=0) for _, rows in blocks(features)]
    return torch.stack(sums).sum(dim=0) / len(features)


def squared_distances(first: Tensor, second: Tensor, center: Tensor) -> tuple[Tensor, Tensor]:
    """Return squared distances ``[N, M]`` of float64 rows by a product, and bounds of their rounding errors."""
    left, right = first - center, second.to(first.device) - center
    sizes = left.square().sum(dim=1)[:, None] + right.square().sum(dim=1)
    squares = torch.addmm(sizes, left, right.T, alpha=-2)
    return squares, sizes * (4 * (first.shape[1] + 2) * torch.finfo(torch.float64).eps)


def exact_squares(rows: Tensor, references: Tensor, indices: Tensor) -> Tensor:
    """Return squared distances ``[N]`` of float64 rows to `references` at `indices`, by differences."""
    others = references[indices.to(references.device)]
    return (rows - to_float64(others).to(rows.device)).square().sum(dim=1)
