"""Evaluating a run: its generator against the data that it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.config import resolve
from ganforge.data.cache import cache_folder
from ganforge.data.pack import open_data
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.errors import CheckpointError, OptionError
from ganforge.evaluation import modes
from ganforge.evaluation.classifier import Classifier, cached_classifier, load_classifier
from ganforge.evaluation.fid import FidResult, evaluate_fid
from ganforge.images import to_uint8
from ganforge.interfaces import Generator
from ganforge.registry import Registry
from ganforge.runs import RunFolder
from ganforge.sampling import generate_batches

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Given a title, what shows how much is done, and of how much."""


def _silent(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True)
class TrainedRun:
    """A generator with the data that it was trained on.

    Attributes:
        generator: On the device that is to compute.
        card: What the generator's file says of it.
        data: As packed for the training.
        dataset: The data set of that name, which may declare its modes; None for data from a path.
    """

    generator: Generator
    card: Mapping[str, Any]
    data: PackedData
    dataset: Any

    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        """Batches of `count` examples, with classes in the proportions of the data."""
        labels = self.data.labels
        if labels is not None:
            chooser = torch.Generator().manual_seed(seed)
            labels = labels[torch.randint(len(labels), (count,), generator=chooser)]
        return generate_batches(self.generator, count, seed=seed, labels=labels, truncation=truncation)


def open_run(weights: Path, generator: Generator, card: Mapping[str, Any], registry: Registry) -> TrainedRun:
    """Find the data of a run again.

    Args:
        weights: The run's ``generator.safetensors``.
        generator: What it holds.
        card: What it says of it.
        registry: Where names are looked up.

    Raises:
        CheckpointError: The weights lie in no run, or the data changed.
    """
    folder = RunFolder(weights.parent)
    if not folder.config.is_file():
        raise CheckpointError(f"{weights} lies in no run, so its data are not known", "evaluate the run that made it")
    source = resolve(registry, folder.read_config()).data
    dataset = None
    if source.source in registry.names("dataset"):
        sized = source.resolution is not None and "resolution" in registry.options("dataset", source.source)
        size = {"resolution": source.resolution} if sized else {}
        dataset = registry.build("dataset", source.source, {**source.options, **size})
    data = open_data(source.source, resolution=source.resolution, options=source.options, registry=registry)
    if data.fingerprint != card["data"]["fingerprint"]:
        raise CheckpointError(f"{source.source} changed since the run was trained", "put it back, or train anew")
    return TrainedRun(generator, card, data, dataset)


def fid_of_run(
    run: TrainedRun, *, count: int, seed: int, truncation: float, weights: Path | None, progress: Progress = _silent
) -> FidResult:
    """Compare generated images with real ones; see `evaluate_fid` for errors.

    Args:
        run: The generator and its data.
        count: Generated images, and at most so many real ones; the same seed takes the same.
        seed: Of the first image.
        truncation: 1 for none.
        weights: Of the Inception network; None to look for them.
        progress: Shows how far it is.
    """
    chooser = torch.Generator().manual_seed(seed)
    reals = run.data.examples[torch.randperm(len(run.data), generator=chooser)[:count]]
    fakes = torch.cat([to_uint8(batch).cpu() for batch in run.generate(count, seed, truncation)])
    with progress("features") as show:
        return evaluate_fid(
            reals,
            fakes,
            weights=weights,
            device=next(run.generator.parameters()).device,
            data_fingerprint=run.data.fingerprint,
            generator_fingerprint=run.card["digest"],
            seed=seed,
            truncation=truncation,
            progress=show,
        )


def modes_of_run(
    run: TrainedRun,
    *,
    count: int | None,
    seed: int,
    truncation: float,
    classifier: Path | None = None,
    progress: Progress = _silent,
    say: Callable[[str], None] = lambda text: None,
) -> modes.ModesResult:
    """Count the modes that a run covers; how, depends on what its data set declares.

    Args:
        run: The generator and its data.
        count: Generated examples; None for what the protocol takes.
        seed: Of the first example.
        truncation: 1 for none.
        classifier: A file, for stacked images; None to have one trained and kept in the cache.
        progress: Shows how far it is.
        say: Told where the classifier comes from.

    Raises:
        OptionError: The modes of its data are not known, or the classifier is of no use for them.
        CheckpointError: The classifier is damaged or does not fit.
    """
    stacked = isinstance(run.dataset, modes.HasStackedModes)
    if not stacked and not isinstance(run.dataset, modes.HasModes):
        raise OptionError(
            f"the modes of {run.data.name} are not known",
            "those of ring-8, grid-25, gaussian-1d and stacked-mnist are, and of data sets of plugins that have "
            "`centers` and `sigma`, or `digits`",
        )
    if classifier and not stacked:
        raise OptionError(f"--classifier {classifier}: {run.data.name} needs none", "leave it out")
    count = count or (modes.STACKED_SAMPLES if stacked else modes.GAUSSIAN_SAMPLES)
    batches = run.generate(count, seed, truncation)
    judge = None
    if stacked:
        judge = _open_classifier(run, classifier, progress, say)
        predicted = torch.cat([_classify_channels(judge, batch) for batch in batches])
        coverage = modes.stacked_coverage(predicted, len(judge.class_names))
    else:
        samples = torch.cat([batch.cpu() for batch in batches])
        coverage = modes.mode_coverage(samples, run.dataset.centers, run.dataset.sigma)
    return modes.ModesResult(
        coverage=coverage,
        provenance=modes.ModesProvenance(
            protocol=modes.STACKED_PROTOCOL if stacked else modes.GAUSSIAN_PROTOCOL,
            num_samples=count,
            seed=seed,
            truncation=truncation,
            data=run.data.name,
            data_fingerprint=run.data.fingerprint,
            generator_fingerprint=run.card["digest"],
            classifier=None if judge is None else judge.describe(),
        ),
    )


def _classify_channels(classifier: Classifier, images: Tensor) -> Tensor:
    """Classes of the channels of images ``[n, C, H, W]`` in [-1, 1]: int64 ``[n, C]``."""
    return classifier.predict(to_uint8(images).flatten(0, 1).unsqueeze(1)).view(images.shape[:2])


def _open_classifier(run: TrainedRun, file: Path | None, progress: Progress, say: Callable[[str], None]) -> Classifier:
    """The classifier of a file; else one of the digits that the data are stacked of, at their size, from the cache."""
    device = next(run.generator.parameters()).device
    shape = (1, *run.data.spec.shape[1:])
    if file is None:
        with progress("digits") as show:
            title = f"the digits of {run.data.name}"
            digits = pack(run.dataset.digits, title, title="digits", resolution=shape[1], progress=show)
        with progress("training a classifier") as show:
            judge, origin = cached_classifier(digits, cache_folder() / "classifiers", device=device, progress=show)
        say(origin)
        return judge
    classifier = load_classifier(file, device=device)
    if classifier.shape != shape:
        raise CheckpointError(
            f"{file}: takes images {list(classifier.shape)}, the channels of {run.data.name} are {list(shape)}",
            "leave --classifier out to have one trained",
        )
    if len(classifier.class_names) != len(run.dataset.digits.class_names):
        raise CheckpointError(
            f"{file}: knows {len(classifier.class_names)} classes, "
            f"{run.data.name} is stacked of {len(run.dataset.digits.class_names)}",
            "leave --classifier out to have one trained",
        )
    return classifier
