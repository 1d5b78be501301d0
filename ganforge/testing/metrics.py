"""Check of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.data import DataSpec
from ganforge.contract.metric import FeatureMetric, Measured, Metric, Request, RunMetric, as_measured
from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.reporter import SILENT
from ganforge.testing.networks import SmallGenerator
from ganforge.testing.requirements import require, require_options

_ROWS, _WIDTH = 64, 8


def check_metric(factory: Callable[..., Metric], **options: Any) -> list[Measured]:
    """Check a metric: numbers, repeatability, unchanged inputs; return its values of made-up inputs.

    A `RunMetric` gets a run with a small generator from 4 numbers to 3, and no data.
    """
    require_options(factory, options)
    metric = factory(**options)
    require(isinstance(metric, FeatureMetric | RunMetric), "derive it from FeatureMetric or RunMetric")
    measure = _measure_features if isinstance(metric, FeatureMetric) else _measure_run
    first, again = (measure(metric) for _ in range(2))
    require(bool(first), "measure returned no value")
    for each in first:
        require(isinstance(each, Measured), f"measure returned {type(each).__name__} in a list: return Measured")
        require(each.value is None or math.isfinite(each.value), f"{each.name} is {each.value}")
    require(first == again, "measuring twice gave different values: use a fixed seed")
    return first


def _measure_features(metric: Any) -> list[Measured]:
    source = torch.Generator().manual_seed(0)
    sets = [torch.randn(max(_ROWS, metric.least), _WIDTH, generator=source) for _ in range(2)]
    before = [each.clone() for each in sets]
    reals, fakes = (FeatureSet(each, each if metric.needs_logits else None) for each in sets)
    found = as_measured("checked", metric, metric.measure(reals, fakes))
    if metric.in_training:
        value = metric.scorer(sets[0])(sets[1])
        require(math.isfinite(value), f"scorer gives {value}")
        equal = metric.scorer(sets[0])(sets[0].clone())
        require(equal <= value, "in training lower is better: equal features must not score higher than others")
    require(all(map(torch.equal, before, sets)), "measure changed the features: work on a copy")
    return found


def _measure_run(metric: Any) -> list[Measured]:
    return as_measured("checked", metric, metric.measure(_Run(SmallGenerator().eval()), Request(count=16), SILENT))


class _Run:
    def __init__(self, generator: SmallGenerator) -> None:
        self.generator = generator
        self.data = SimpleNamespace(spec=DataSpec((3,)), labels=None, examples=torch.zeros(0, 3))

    @torch.no_grad()
    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        source = torch.Generator().manual_seed(seed)
        yield self.generator(torch.randn(count, self.generator.z_dim, generator=source))
