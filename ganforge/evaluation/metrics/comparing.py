"""Base class of metrics that use a whole comparison, not just its features."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ganforge.contract.metric import FeatureMetric, Features

if TYPE_CHECKING:
    from ganforge.evaluation.metrics.comparison import Comparison
    from ganforge.evaluation.results.result import Evaluation


class ComparisonMetric(FeatureMetric):
    """Compares images and features of a subject with the reference set."""

    def measure(self, reals: Features, fakes: Features) -> NoReturn:
        raise NotImplementedError("it needs the images too")

    @abstractmethod
    def check(self, comparison: Comparison) -> None:
        """Raise OptionError for an unsupported comparison."""

    @abstractmethod
    def report(self, comparison: Comparison, home: Path) -> tuple[list[Evaluation], str]:
        """Return rows and their text; pictures are written to `home`."""
