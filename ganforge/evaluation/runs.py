"""A run that is to be evaluated: its generator, the data that it was trained on, and what numbers are quoted with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.config import resolve
from ganforge.data.pack import open_data
from ganforge.data.store import PackedData
from ganforge.errors import CheckpointError
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.fid import FidResult, evaluate_fid
from ganforge.evaluation.provenance import now
from ganforge.images import to_uint8
from ganforge.interfaces import Generator
from ganforge.registry import Registry
from ganforge.runs import RunFolder
from ganforge.sampling import generate_batches
from ganforge.version import __version__

Progress = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Given a title, what shows how much is done, and of how much."""

Say = Callable[[str], None]
"""Prints a line for the user."""


def no_progress(title: str) -> AbstractContextManager[Callable[[int, int], None]]:
    """A `Progress` that shows nothing."""
    return nullcontext(lambda done, total: None)


@dataclass(frozen=True, kw_only=True)
class RunProvenance:
    """What a number about generated examples must be quoted with.

    Attributes:
        protocol: How it was computed, in words.
        num_samples: Number of generated samples.
        seed: Seed of the first; the next has the next.
        truncation: Truncation of the latents; 1 for none.
        data: Name of the data set.
        data_fingerprint: Fingerprint of what the generator was trained on.
        generator_fingerprint: Fingerprint of its weights.
        classifier: Architecture, fingerprints and held-out accuracy of the classifier; None where there is none.
        versions: Versions of ganforge and torch.
        date: When, in ISO 8601, UTC.
    """

    protocol: str
    num_samples: int
    seed: int
    truncation: float
    data: str
    data_fingerprint: str
    generator_fingerprint: str
    classifier: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=lambda: {"ganforge": __version__, "torch": str(torch.__version__)})
    date: str = field(default_factory=now)


@dataclass(frozen=True)
class TrainedRun:
    """A generator with the data that it was trained on.

    Attributes:
        folder: The run's.
        generator: On the device that is to compute.
        card: What the generator's file says of it.
        data: As packed for the training.
        dataset: The data set of that name, which may declare its modes or attributes; None for data from a path.
    """

    folder: RunFolder
    generator: Generator
    card: Mapping[str, Any]
    data: PackedData
    dataset: Any

    @property
    def device(self) -> torch.device:
        """Where the generator computes."""
        return next(self.generator.parameters()).device

    def draw_labels(self, count: int, seed: int) -> Tensor | None:
        """Classes int64 ``[count]`` in the proportions of the data; None for unlabelled data."""
        labels = self.data.labels
        if labels is None:
            return None
        chooser = torch.Generator().manual_seed(seed)
        return labels[torch.randint(len(labels), (count,), generator=chooser)]

    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        """Batches of `count` examples, with classes as `draw_labels` draws them."""
        labels = self.draw_labels(count, seed)
        return generate_batches(self.generator, count, seed=seed, labels=labels, truncation=truncation)

    def provenance(
        self, protocol: str, *, count: int, seed: int, truncation: float, classifier: Classifier | None = None
    ) -> RunProvenance:
        """What a number about `count` samples of this run must be quoted with; see `RunProvenance`."""
        return RunProvenance(
            protocol=protocol,
            num_samples=count,
            seed=seed,
            truncation=truncation,
            data=self.data.name,
            data_fingerprint=self.data.fingerprint,
            generator_fingerprint=self.card["digest"],
            classifier=None if classifier is None else classifier.describe(),
        )


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
    return TrainedRun(folder, generator, card, data, dataset)


def fid_of_run(
    run: TrainedRun, *, count: int, seed: int, truncation: float, weights: Path | None, progress: Progress = no_progress
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
            device=run.device,
            data_fingerprint=run.data.fingerprint,
            generator_fingerprint=run.card["digest"],
            seed=seed,
            truncation=truncation,
            progress=show,
        )
