"""Interfaces of metrics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor

from ganforge.contract.errors import PluginError
from ganforge.contract.networks import Generator

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Confidence interval of a value, with the level in (0, 1)."""

    value: float
    low: float
    high: float
    level: float

    def within(self, low: float, high: float = math.inf) -> Interval:
        """Clip the interval to a range of valid values."""
        return replace(self, low=max(self.low, low), high=min(self.high, high))


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Value of a metric.

    Attributes:
        name: Name of the metric; for features, the name with the published Inception weights.
        value: None if undefined.
        interval: Confidence interval, or None. An interval of zero width becomes None: constant data give no error.
        better: Direction of improvement, or None.
        parameters: Parameters of the definition; values with equal parameters are comparable.
        details: Further results.
    """

    name: str
    value: float | None
    interval: Interval | None = None
    better: Better | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.interval is not None and self.interval.high - self.interval.low <= 1e-12 * abs(self.interval.value):
            object.__setattr__(self, "interval", None)

    def fields(self) -> dict[str, Any]:
        """Return the fields that an `Evaluation` shares."""
        return {name: getattr(self, name) for name in ("value", "interval", "better", "details")}


@dataclass(frozen=True, kw_only=True)
class Request:
    """Options of an evaluation, shared by all metrics.

    Attributes:
        count: Number of samples; None for the default of the metric.
        references: Number of real images; None for the whole split.
        split: Split of the real images.
        extractor: Name of a feature extractor, with options after a colon, or a file.
        seed: Seed of the first sample; incremented per sample.
        truncation: Truncation psi; 1 for none.
        inception_weights: File, or None.
        lpips_weights: Folder, or None.
        classifier: File, or None.
        space: Latent space, ``z`` or ``w``; None for all.
        distance: Image distance of path lengths; None for the default.
        marking: Whether pictures have metadata that mark them as generated.
    """

    count: int | None = None
    references: int | None = None
    split: str = "train"
    extractor: str = "inception"
    seed: int = 0
    truncation: float = 1.0
    inception_weights: Path | None = None
    lpips_weights: Path | None = None
    classifier: Path | None = None
    space: str | None = None
    distance: str | None = None
    marking: bool = True


class Features(Protocol):
    """Features of an image set: float32 ``[N, D]``, and logits of a classifier ``[N, K]`` or None."""

    @property
    def features(self) -> Tensor:
        """Features ``[N, D]``."""

    @property
    def logits(self) -> Tensor | None:
        """Logits ``[N, K]``, if the extractor is a classifier."""

    def __len__(self) -> int: ...


class TrainedGenerator(Protocol):
    """A run with its generator in evaluation mode, its data, and `generate`."""

    @property
    def generator(self) -> Generator:
        """EMA generator on its device."""

    @property
    def data(self) -> Any:
        """Training data: ``len``, ``spec``, ``examples``, ``labels``."""

    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        """Yield batches of examples ``[N, ...]``, with classes or source images of the data."""


class Metric(ABC):  # noqa: B024
    """Base class of `FeatureMetric` and `RunMetric`. The constructor is ``__init__(self, *, options...)``."""

    better: ClassVar[Better | None] = None
    """Direction of improvement of a plain number."""

    options: Mapping[str, Any] = {}
    """Options that ganforge built it with, recorded with each value, but for the weights of an extractor of its own."""


class FeatureMetric(Metric):
    """Compares features of generated and of real images.

    The features are those of ``--extractor``, computed once for all metrics and cached.
    """

    extractor: str = ""
    """Extractor that the definition of the metric requires, such as ``dinov2:size=l``; empty for ``--extractor``."""

    least: ClassVar[int] = 2
    """Minimum number of images per set."""

    needs_logits: ClassVar[bool] = False
    """Requires an extractor with logits, a classifier."""

    samples: ClassVar[int] = 50_000
    """Default number of generated images."""

    in_training: ClassVar[bool] = False
    """Allow the metric in ``ganforge train --metrics``: it is fast, and lower is better."""

    @abstractmethod
    def measure(self, reals: Features, fakes: Features) -> float | Measured | list[Measured]:
        """Return a number, or values with intervals.

        Args:
            reals: Features of the real images.
            fakes: Features of the generated images.
        """

    def least_samples(self, width: int) -> int:
        """Return the minimum number of generated images for features of a width."""
        return self.least

    def scorer(self, reals: Tensor) -> Callable[[Tensor], float]:
        """Return the function from features ``[N, D]`` of generated images to a value during training.

        Args:
            reals: Features ``[M, D]`` of the real images.
        """
        raise PluginError(f"{type(self).__name__} has in_training, but no scorer", "implement it, or omit in_training")


class RunMetric(Metric):
    """Measures the generator of a run with its own data."""

    flags: ClassVar[tuple[str, ...]] = ("--samples",)
    """Flags of ``ganforge eval`` that the metric uses."""

    samples: ClassVar[int] = 5_000
    """Number of samples if ``request.count`` is None."""

    @abstractmethod
    def measure(self, run: Any, request: Request, reporter: Any) -> Any:
        """Return a number, or values with intervals.

        Args:
            run: The run, a `TrainedGenerator`.
            request: Options of the evaluation.
            reporter: ``reporter.log(text)``, and ``reporter.progress(title)``, a context manager that yields a function
                of the number done and the total.
        """


def as_measured(name: str, metric: Metric, found: float | Measured | list[Measured]) -> list[Measured]:
    """Return what a metric measured as a list of values; a plain number gets the name of the metric."""
    if isinstance(found, Measured):
        return [found]
    if isinstance(found, list):
        return found
    return [Measured(name=name, value=float(found), better=metric.better)]
