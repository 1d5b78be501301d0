"""Checks of features, and their conversion to float64 in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ganforge.contract.errors import DataError

ROWS = 2048
"""Rows converted to float64 at once."""

_MAX = 1e18


def check_features(name: str, features: Tensor, *, least: int = 1) -> None:
    """Check features, a row per image.

    Args:
        name: Name for messages, such as ``real features``.
        features: ``[N, D]`` of any float type.
        least: Minimum number of rows.
    """
    if features.dim() != 2 or not features.is_floating_point() or features.shape[1] == 0:
        raise DataError(
            f"{name} are {features.dtype} {list(features.shape)}", "they must be floating-point [N, D], a row per image"
        )
    if len(features) < least:
        raise DataError(
            f"{name} are of {len(features)} image{'s' * (len(features) != 1)}", f"{least} or more are needed"
        )
    if not len(features):
        return
    low, high = (end.item() for end in torch.aminmax(features))
    if not -_MAX <= low <= high <= _MAX:
        wrong = (~(features.float().abs() <= _MAX).all(dim=1)).nonzero()[:, 0]
        raise DataError(
            f"{name} are not finite in {len(wrong)} of {len(features)} rows, first in row {wrong[0].item()}",
            f"all values must be finite and at most {_MAX:g}; the network or its images are damaged",
        )


def check_pair(reals: Tensor, fakes: Tensor, *, least: int = 1) -> None:
    """Check two sets of features ``[N, D]`` and ``[M, D]`` with `least` rows each."""
    check_features("real features", reals, least=least)
    check_features("generated features", fakes, least=least)
    check_dimensions(reals.shape[1], fakes.shape[1])


def check_dimensions(reals: int, fakes: int) -> None:
    """Raise DataError if two numbers of dimensions differ."""
    if reals != fakes:
        raise DataError(
            f"real features have {reals} dimensions, generated ones {fakes}", "both must come from one network"
        )


def to_float64(features: Tensor) -> Tensor:
    """Return float64 features without gradients, on their device if it supports float64."""
    return (features.cpu() if features.device.type == "mps" else features).detach().double()


def blocks(features: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the index of the first row and float64 rows, `ROWS` at a time."""
    for start in range(0, len(features), ROWS):
        yield start, to_float64(features[start : start + ROWS])
