"""Scores during training: distances between a few samples and the training data."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.config.schema import TrainingConfig, read_score
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.contract.metric import FeatureMetric
from ganforge.contract.networks import Generator
from ganforge.core.distributed import ALONE, Workers
from ganforge.core.images import to_uint8
from ganforge.data.conditions import Labels, draw_labels, labels_of
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors.inception import VARIABLE
from ganforge.evaluation.extractors.opening import open_extractor, share_classifier
from ganforge.evaluation.features.extraction import BATCH, extract, gather_columns, prepare
from ganforge.evaluation.metrics.comparison import name_metric
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.subjects.image_sets import DataImages, choose_some
from ganforge.evaluation.subjects.participation import SHARED, trains_against
from ganforge.plugins.registry import Registry
from ganforge.sampling import generate_batches

MAX_REALS = 10_000
"""Maximum number of real images of a score."""


@dataclass(frozen=True, eq=False, kw_only=True)
class FeatureScore:
    """Metric of generators: distance to features ``[M, D]`` of real images.

    `extract` maps images, uint8 ``[N, C, H, W]``, to features and logits on the CPU. Only the main process has `reals`.
    """

    name: str
    metric: FeatureMetric
    extract: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    reals: Tensor

    @cached_property
    def measure(self) -> Callable[[Tensor], float]:
        """Function from features ``[N, D]`` to the distance; lower is better."""
        return self.metric.scorer(self.reals)


class FeatureScorer:
    """Function from a generator to its scores by name; deterministic, lower is better.

    Metrics with the same network share its features. The seed is that of the first image. Classes of the images are
    drawn from those of the data. Each of the workers generates a share.
    """

    def __init__(
        self,
        scores: Sequence[FeatureScore],
        *,
        samples: int,
        seed: int,
        labels: Labels | None,
        workers: Workers = ALONE,
    ) -> None:
        self._workers = workers
        self._scores = scores
        self._samples = samples
        self._seed = seed
        self._labels = None if labels is None else draw_labels(labels, samples, seed)

    def __call__(self, generator: Generator) -> dict[str, float]:
        # Shares are whole batches, equal for any world size; the last ranks may have fewer.
        share = math.ceil(math.ceil(self._samples / BATCH) / self._workers.size) * BATCH
        start = min(self._workers.rank * share, self._samples)
        stop = min(start + share, self._samples)
        labels = None if self._labels is None else self._labels[start:stop]
        found: dict[Callable[..., Any], list[Tensor]] = {each.extract: [] for each in self._scores}
        for batch in generate_batches(generator, stop - start, seed=self._seed + start, labels=labels, batch=BATCH):
            images = to_uint8(batch)
            for extract_from, features in found.items():
                features.append(extract_from(images)[0])
        gathered = {
            run: gather_columns(self._workers, [torch.cat(rows)] if rows else [], share, self._samples)[0]
            for run, rows in found.items()
        }

        def measure() -> bytes:
            return json.dumps({each.name: each.measure(gathered[each.extract]) for each in self._scores}).encode()

        values: dict[str, float] = json.loads(self._workers.on_main(measure))
        return values


def check_scoring(training: TrainingConfig, data: PackedData) -> None:
    """Raise OptionError if only one of `eval_every` and `metrics` is given, or the data do not fit a metric."""
    if training.eval_every is not None and not training.metrics:
        raise OptionError(f"--eval-every {training.eval_every}: no metric is given", "add --metrics fd, or fid")
    if training.eval_every is None and training.metrics:
        raise OptionError(f"--metrics {','.join(training.metrics)}: no interval is given", "add --eval-every 50k")
    for metric in training.metrics:
        if not data.spec.is_image:
            raise OptionError(
                f"--metrics {metric}: {data.name} holds no images", f"{metric} compares images; leave it out"
            )
        extractor, _ = _choose_extractor(metric, data)
        if extractor == "inception" and data.spec.shape[0] not in (1, 3):
            raise OptionError(
                f"--metrics {metric}: images of {data.name} have {data.spec.shape[0]} channels", "it needs 1 or 3"
            )


def _choose_extractor(metric: str, data: PackedData) -> tuple[str, str]:
    """Return extractor and statistic of a metric of training; without classes, an untrained network's features."""
    extractor, statistic = read_score(metric)
    return "random" if extractor == "classifier" and data.spec.num_classes < 2 else extractor, statistic


def build_scorer(
    training: TrainingConfig,
    data: PackedData,
    device: torch.device,
    registry: Registry,
    *,
    cache: Path,
    networks: Iterable[nn.Module] = (),
    workers: Workers = ALONE,
    reporter: Reporter = SILENT,
) -> FeatureScorer:
    """Build the scorer of a run, with features of real images that are not held out.

    The seed of the training also chooses the real images. The cache holds classifiers and features of real images.
    A note names an extractor with weights of the `networks` in training.
    """
    shown = (~is_held_out(len(data), training.holdout)).nonzero()[:, 0]
    reals = DataImages(data, choose_some(shown, MAX_REALS, training.seed))
    scores: list[FeatureScore] = []
    opened: dict[str, tuple[Extractor, Callable[[Tensor], tuple[Tensor, Tensor | None]], Tensor]] = {}
    for metric in training.metrics:
        name, statistic = _choose_extractor(metric, data)
        if name not in opened:
            try:
                if name == "classifier" and workers.size > 1:
                    share_classifier(data, cache / "classifiers", workers, device=device, progress=reporter.progress)
                with workers.main_first():
                    extractor = open_extractor(
                        name, data.spec, registry, data=lambda: data, cache=cache, device=device, reporter=reporter
                    )
            except CheckpointError as error:
                raise CheckpointError(
                    f"--metrics {metric}: {error.message}", f"set ${VARIABLE} to the file, or use --metrics fd"
                ) from error
            shared = [SHARED] if trains_against(extractor, networks) else []
            for note in (*extractor.notes, *shared):
                reporter.log(f"note: {note}")
            with reporter.progress(f"{extractor.label}: features of real images") as show:
                found = extract(
                    reals,
                    extractor,
                    device=device,
                    cache=cache / "features",
                    dtype=training.eval_dtype,
                    progress=show,
                    workers=workers,
                )
            run = prepare(extractor, device, training.eval_dtype)
            opened[name] = extractor, run, found.features
        extractor, run, features = opened[name]
        scores.append(
            FeatureScore(
                name=name_metric(statistic, extractor, training.eval_dtype),
                metric=registry.build("metric", statistic, {}),
                extract=run,
                reals=features,
            )
        )
    labels = labels_of(data, shown)
    return FeatureScorer(scores, samples=training.eval_samples, seed=training.seed, labels=labels, workers=workers)
