"""Scores while a run trains: Frechet distances between small samples and the training data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.config import TrainingConfig
from ganforge.data.cache import cache_folder
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.errors import CheckpointError, OptionError
from ganforge.evaluation.classifier import cached_classifier
from ganforge.evaluation.fid import extract_features
from ganforge.evaluation.runs import Progress, no_progress
from ganforge.evaluation.statistics import Moments, frechet_distance
from ganforge.evaluation.weights import VARIABLE, load_inception
from ganforge.images import to_uint8
from ganforge.interfaces import Generator
from ganforge.sampling import generate_batches

MOST_REALS = 10_000
"""Real images that a score compares with, if there are so many."""

_BATCH = 64

Extract = Callable[[Tensor], Tensor]
"""From images, uint8 ``[N, C, H, W]``, to their features ``[N, D]`` on the CPU."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Where generated images are compared with real ones.

    Attributes:
        metric: Name of the distance in it.
        extract: Brings images there.
        reals: Features ``[M, D]`` of the real images, with D of at least 2.
    """

    metric: str
    extract: Extract
    reals: Tensor


class FrechetScorer:
    """Says how far a generator is from real images; the same generator always gets the same values.

    Args:
        spaces: Where the distance is measured, one value for each.
        samples: Images generated for it, the same ones for all spaces.
        seed: Of the first image; the next has the next. The classes follow from it too.
        labels: Classes ``[K]`` of the data, from which those of the images are drawn; None for unlabelled data.
    """

    def __init__(self, spaces: Sequence[FeatureSpace], *, samples: int, seed: int, labels: Tensor | None) -> None:
        self._spaces = spaces
        self._samples = samples
        self._seed = seed
        self._labels = None
        if labels is not None:
            chooser = torch.Generator().manual_seed(seed)
            self._labels = labels[torch.randint(len(labels), (samples,), generator=chooser)]

    def __call__(self, generator: Generator) -> dict[str, float]:
        """Squared Frechet distances by name of the metric; lower is better, and 0 for equal sets."""
        found: list[list[Tensor]] = [[] for _ in self._spaces]
        batches = generate_batches(generator, self._samples, seed=self._seed, labels=self._labels, batch=_BATCH)
        for batch in batches:
            images = to_uint8(batch)
            for space, features in zip(self._spaces, found, strict=True):
                features.append(space.extract(images))
        return {
            space.metric: frechet_distance(Moments.of(space.reals), Moments.of(torch.cat(features)))
            for space, features in zip(self._spaces, found, strict=True)
        }


def check_scoring(training: TrainingConfig, data: PackedData) -> None:
    """Refuse scores that cannot be had, before anything is made for them.

    Raises:
        OptionError: Only one of `eval_every` and `metrics` is given, or the data do not fit a metric.
    """
    if training.eval_every is not None and not training.metrics:
        raise OptionError(f"--eval-every {training.eval_every}: no metric is named", "add --metrics fd, or fid")
    if training.eval_every is None and training.metrics:
        raise OptionError(f"--metrics {','.join(training.metrics)}: nothing says how often", "add --eval-every 50k")
    for metric in training.metrics:
        if not data.spec.is_image:
            raise OptionError(
                f"--metrics {metric}: {data.name} holds vectors", f"{metric} compares images; leave it out"
            )
        if metric == "fd" and data.spec.num_classes < 2:
            raise OptionError(
                f"--metrics fd: {data.name} has no classes, and the features of fd are a classifier's",
                "give labelled images of at least 2 classes, or take --metrics fid",
            )
        if metric == "fid" and data.spec.shape[0] not in (1, 3):
            raise OptionError(
                f"--metrics fid: images of {data.name} have {data.spec.shape[0]} channels", "FID needs 1 or 3"
            )


def build_scorer(
    training: TrainingConfig,
    data: PackedData,
    device: torch.device,
    *,
    progress: Progress = no_progress,
    say: Callable[[str], None] = lambda text: None,
) -> FrechetScorer:
    """Make all that a run's scores need: networks, and the features of real images that are shown in training.

    Args:
        training: Which metrics, how many samples, and the seed that also chooses the real images.
        data: What the run is trained on; see `check_scoring`.
        device: Where features are computed.
        progress: Shows how far it is.
        say: Told where networks come from, and what forbids quoting a value.

    Raises:
        DataError: The data are too few for a classifier.
        CheckpointError: The Inception weights are absent or damaged.
    """
    shown = (~is_held_out(len(data), training.holdout)).nonzero()[:, 0]
    chooser = torch.Generator().manual_seed(training.seed)
    chosen = shown[torch.randperm(len(shown), generator=chooser)[:MOST_REALS]]
    spaces = []
    for metric in training.metrics:
        name, extract = (_open_fd if metric == "fd" else _open_fid)(data, device, progress, say)
        features = []
        with progress(f"{name}: features of real images") as show:
            for indices in torch.split(chosen, _BATCH):
                features.append(extract(data.examples[indices]))
                show(sum(map(len, features)), len(chosen))
        reals = torch.cat(features)
        if not reals.isfinite().all():
            raise CheckpointError(f"--metrics {metric}: features are not finite", "the extractor's weights are damaged")
        spaces.append(FeatureSpace(name, extract, reals))
    labels = None if data.labels is None else data.labels[shown]
    return FrechetScorer(spaces, samples=training.eval_samples, seed=training.seed, labels=labels)


def _open_fd(
    data: PackedData, device: torch.device, progress: Progress, say: Callable[[str], None]
) -> tuple[str, Extract]:
    with progress("training a classifier") as show:
        classifier, origin = cached_classifier(data, cache_folder() / "classifiers", device=device, progress=show)
    say(f"{origin}; it is right on {classifier.accuracy:.1%} of {classifier.num_held_out} held-out images")
    return f"fd_{data.name}-classifier", classifier.features


def _open_fid(
    data: PackedData, device: torch.device, progress: Progress, say: Callable[[str], None]
) -> tuple[str, Extract]:
    try:
        extractor = load_inception(None)
    except CheckpointError as error:
        raise CheckpointError(
            f"--metrics fid: {error.message}", f"let ${VARIABLE} name the file, or take --metrics fd"
        ) from error
    if not extractor.is_published:
        say("note: these are not the published Inception weights: fid is none that can be compared")

    def extract(images: Tensor) -> Tensor:
        return extract_features(extractor, images, device=device, batch=_BATCH, progress=lambda done: None)

    return "fid", extract
