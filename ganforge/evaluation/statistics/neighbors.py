"""Nearest rows of one set of features in another, a block at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.evaluation.statistics.features import blocks, check_features, to_float64


@dataclass(frozen=True, eq=False, kw_only=True)
class Nearest:
    """The nearest rows, nearest first.

    Attributes:
        indices: Of the rows, int64 ``[N, K]``. Of rows that are equally far, any may be among them.
        distances: Euclidean, float64 ``[N, K]``; exactly 0 for equal rows.
    """

    indices: Tensor
    distances: Tensor


def nearest(queries: Tensor, references: Tensor, *, count: int = 1) -> Nearest:
    """Find the nearest `references` of each query.

    Args:
        queries: ``[N, D]`` of any float type.
        references: ``[M, D]``.
        count: K, 1 to M.

    Raises:
        DataError: One is no set of features, or their dimensions differ.
        OptionError: There are not as many references.
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
    """Indices ``[N, count]`` and squared distances, nearest first, of checked features.

    Products of matrices say which rows are nearest; the distances to these are then computed from differences, so that
    nothing cancels.

    Args:
        queries: ``[N, D]``.
        references: ``[M, D]``.
        count: 1 to M.
        others_only: Both are one set, and a row is not its own neighbour; `count` is then less than M.
    """
    centre = centre_of(references)
    found = []
    for start, rows in blocks(queries):
        best = torch.full((len(rows), 0), torch.inf, dtype=torch.float64, device=rows.device)
        chosen = torch.zeros(len(rows), 0, dtype=torch.int64, device=rows.device)
        for first, others in blocks(references):
            squares, _ = squared_distances(rows, others, centre)
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


def centre_of(features: Tensor) -> Tensor:
    """A point amid them, float64 ``[D]``: from it, products of matrices lose the fewest digits."""
    sums = [rows.sum(dim=0) for _, rows in blocks(features)]
    return torch.stack(sums).sum(dim=0) / len(features)


def squared_distances(first: Tensor, second: Tensor, centre: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distances of float64 ``[N, D]`` from ``[M, D]`` by a product, and how far rounding may have moved them.

    Returns:
        Two tensors ``[N, M]``.
    """
    left, right = first - centre, second.to(first.device) - centre
    sizes = left.square().sum(dim=1)[:, None] + right.square().sum(dim=1)
    squares = torch.addmm(sizes, left, right.T, alpha=-2)
    return squares, sizes * (4 * (first.shape[1] + 2) * torch.finfo(torch.float64).eps)


def exact_squares(rows: Tensor, references: Tensor, indices: Tensor) -> Tensor:
    """Squared distances ``[N]`` of float64 rows from those of `references` with these indices, by differences."""
    others = references[indices.to(references.device)]
    return (rows - to_float64(others).to(rows.device)).square().sum(dim=1)
