"""Mean and covariance of features that come in batches, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ganforge.contract.errors import CheckpointError, DataError
from ganforge.evaluation.statistics.features import blocks, check_features


class Moments:
    """Mean and covariance of all features shown so far, in float64.

    Batches are merged as by Chan, Golub and LeVeque 1979, "Updating Formulae and a Pairwise Algorithm for Computing
    Sample Variances": no sum of squares is kept from which a large mean would have to be taken.

    Args:
        dimensions: D, 1 or more.
        device: Where they are kept; features are brought there. It must know float64.
    """

    def __init__(self, dimensions: int, device: torch.device | str = "cpu") -> None:
        self._count = 0
        self._mean = torch.zeros(dimensions, dtype=torch.float64, device=device)
        self._scatter = torch.zeros(dimensions, dimensions, dtype=torch.float64, device=device)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Those of features ``[N, D]`` of any float type, on their device where it knows float64.

        Raises:
            DataError: See `check_features`.
        """
        check_features("features", features)
        moments = cls(features.shape[1], "cpu" if features.device.type == "mps" else features.device)
        moments._absorb(features)
        return moments

    @property
    def count(self) -> int:
        """Number N of rows so far."""
        return self._count

    @property
    def dimensions(self) -> int:
        """Their length D."""
        return len(self._mean)

    @property
    def mean(self) -> Tensor:
        """float64 ``[D]``.

        Raises:
            DataError: There is nothing to average.
        """
        self._require(1)
        return self._mean.clone()

    @property
    def covariance(self) -> Tensor:
        """The unbiased one, divided by N - 1, float64 ``[D, D]``.

        Raises:
            DataError: There are fewer than 2 rows.
        """
        self._require(2)
        return self._scatter / (self._count - 1)

    def update(self, features: Tensor) -> None:
        """Take in more rows; a refused batch leaves everything as it was.

        Args:
            features: ``[N, D]`` of any float type; N may be 0.

        Raises:
            DataError: They have another length, or see `check_features`.
        """
        check_features("features", features, least=0)
        self._check_length(features.shape[1])
        self._absorb(features)

    def merge(self, other: Moments) -> None:
        """Take in all that another has seen, which keeps it.

        Raises:
            DataError: Its features have another length.
        """
        self._check_length(other.dimensions)
        if other.count:
            scatter, mean = (each.to(self._mean.device) for each in (other._scatter, other._mean))
            self._scatter += scatter
            self._shift(other.count, mean)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of all that it holds: ``count`` (int64), ``mean`` and ``scatter`` (float64), on the CPU."""
        return {
            "count": torch.tensor(self._count),
            "mean": self._mean.detach().cpu().clone(),
            "scatter": self._scatter.detach().cpu().clone(),
        }

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], device: torch.device | str = "cpu") -> Moments:
        """What `state_dict` was taken from, bit for bit.

        Args:
            state: The mapping.
            device: Where they are kept from now on.

        Raises:
            CheckpointError: It is no such mapping, or damaged.
        """
        count, mean, scatter = (state.get(name) for name in ("count", "mean", "scatter"))
        if (
            count is None
            or mean is None
            or scatter is None
            or count.dim()
            or mean.dim() != 1
            or scatter.shape != (len(mean), len(mean))
            or {mean.dtype, scatter.dtype} != {torch.float64}
        ):
            raise CheckpointError(
                f"no state of moments: {', '.join(f'{name} {list(each.shape)}' for name, each in state.items())}",
                "expected count [], mean [D] and scatter [D, D], the last two in float64",
            )
        if count < 0 or not (mean.isfinite().all() and scatter.isfinite().all()):
            raise CheckpointError("a state of moments is damaged: not all of it is finite", "compute it anew")
        moments = cls(len(mean), device)
        moments._count = int(count)
        moments._mean.copy_(mean)
        moments._scatter.copy_(scatter)
        return moments

    def _absorb(self, features: Tensor) -> None:
        for _, rows in blocks(features):
            rows = rows.to(self._mean.device)
            mean = rows.mean(dim=0)
            rows = rows - mean
            self._scatter.addmm_(rows.T, rows)
            self._shift(len(rows), mean)

    def _shift(self, count: int, mean: Tensor) -> None:
        """Count rows whose own scatter is added already, and the scatter of both means about the common one."""
        total = self._count + count
        gap = mean - self._mean
        self._scatter.addr_(gap, gap, alpha=self._count * count / total)
        self._mean += gap * (count / total)
        self._count = total

    def _check_length(self, dimensions: int) -> None:
        if dimensions != self.dimensions:
            raise DataError(
                f"features have {dimensions} dimensions, those before had {self.dimensions}",
                "all must come from one network",
            )

    def _require(self, least: int) -> None:
        if self._count < least:
            raise DataError(
                f"features are of {self._count} image{'s' * (self._count != 1)}", f"{least} or more are needed"
            )
