"""Features as statistics take them: checked in words, and brought to float64 a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.contract.errors import DataError

ROWS = 2048
"""Rows that are held in float64 at once; a block of distances has as many rows and columns."""

_LARGEST = 1e18


def check_features(name: str, features: Tensor, *, least: int = 1) -> None:
    """Refuse what no statistic can be computed from.

    Args:
        name: What they are called in a message, such as ``real features``.
        features: ``[N, D]`` of any float type, a row for each image.
        least: Rows that are needed.

    Raises:
        DataError: They are no such tensor, too few, or hold a number that is not finite, or beyond
            1e18, where powers of it would overflow.
    """
    if features.dim() != 2 or not features.is_floating_point() or features.shape[1] == 0:
        raise DataError(
            f"{name} are {features.dtype} {list(features.shape)}", "they must be floating-point [N, D], a row an image"
        )
    if len(features) < least:
        raise DataError(
            f"{name} are of {len(features)} image{'s' * (len(features) != 1)}", f"{least} or more are needed"
        )
    if not len(features):
        return
    low, high = (end.item() for end in torch.aminmax(features))
    if not -_LARGEST <= low <= high <= _LARGEST:
        wrong = (~(features.float().abs() <= _LARGEST).all(dim=1)).nonzero()[:, 0]
        raise DataError(
            f"{name} are not finite in {len(wrong)} of {len(features)} rows, first in row {wrong[0].item()}",
            f"every number must be finite, and no larger than {_LARGEST:g}; the network or its images are damaged",
        )


def check_pair(reals: Tensor, fakes: Tensor, *, least: int = 1) -> None:
    """Refuse two sets that cannot be compared.

    Args:
        reals: Features ``[N, D]``.
        fakes: Features ``[M, D]``.
        least: Rows that each needs.

    Raises:
        DataError: One of them is no set of features, or their dimensions differ.
    """
    check_features("real features", reals, least=least)
    check_features("generated features", fakes, least=least)
    check_dimensions(reals.shape[1], fakes.shape[1])


def check_dimensions(reals: int, fakes: int) -> None:
    """Refuse features of two kinds.

    Raises:
        DataError: The dimensions differ.
    """
    if reals != fakes:
        raise DataError(
            f"real features have {reals} dimensions, generated ones {fakes}", "both must come from one network"
        )


def to_float64(features: Tensor) -> Tensor:
    """The same numbers in float64, without gradients, on their own device where it knows that type."""
    return (features.cpu() if features.device.type == "mps" else features).detach().double()


def blocks(features: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Index of the first row and float64 rows, `ROWS` at a time."""
    for start in range(0, len(features), ROWS):
        yield start, to_float64(features[start : start + ROWS])
