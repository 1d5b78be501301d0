"""Mean and covariance of batches of features, in constant memory."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.contract.errors import DataError
from ganforge.evaluation.statistics.features import blocks, check_features


class Moments:
    """Mean and covariance of D dimensions in float64, on a device that supports it.

    Batches are merged by Chan, Golub and LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances", which avoids cancellation for large means.
    """

    def __init__(self, dimensions: int, device: torch.device | str = "cpu") -> None:
        self._count = 0
        self._mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the moments of features ``[N, D]`` of any float type, on their device if it supports float64."""
        check_features("features", features)
        moments = cls(features.shape[1], "cpu" if features.device.type == "mps" else features.device)
        moments._absorb(features)
        return moments

    @property
    def count(self) -> int:
        """Number of rows."""
        return self._count

    @property
    def dimensions(self) -> int:
        """Number of dimensions."""
        return len(self._mean)

    @property
    def mean(self) -> Tensor:
        """Mean, float64 ``[D]``; DataError without rows."""
        self._require(1)
        return self._mean.clone()

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance, divided by N - 1, float64 ``[D, D]``; DataError for fewer than 2 rows."""
        self._require(2)
        return self._scatter / (self._count - 1)

    def update(self, features: Tensor) -> None:
        """Add features ``[N, D]`` of any float type, N of 0 or more; an invalid batch changes nothing."""
        check_features("features", features, least=0)
        self._check_length(features.shape[1])
        self._absorb(features)

    def merge(self, other: Moments) -> None:
        """Add the rows of other moments."""
        self._check_length(other.dimensions)
        if other.count:
            scatter, mean = (each.to(self._mean.device) for each in (other._scatter, other._mean))
            self._scatter += scatter
            self._shift(other.count, mean)

    def _absorb(self, features: Tensor) -> None:
        for _, rows in blocks(features):
            rows = rows.to(self._mean.device)
            mean = rows.mean(dim=0)
            rows = rows - mean
            self._scatter.addmm_(rows.T, rows)
            self._shift(len(rows), mean)

    def _shift(self, count: int, mean: Tensor) -> None:
        """Add the count and mean of rows whose own scatter is already added."""
        total = self._count + count
        gap = mean - self._mean
        self._scatter.addr_(gap, gap, alpha=self._count * count / total)
        self._mean += gap * (count / total)
        self._count = total

    def _check_length(self, dimensions: int) -> None:
        if dimensions != self.dimensions:
            raise DataError(
                f"features have {dimensions} dimensions, earlier ones {self.dimensions}",
                "all must come from one network",
            )

    def _require(self, least: int) -> None:
        if self._count < least:
            raise DataError(
                f"features are of {self._count} image{'s' * (self._count != 1)}", f"{least} or more are needed"
            )
