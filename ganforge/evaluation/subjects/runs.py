"""A run that is to be evaluated: its generator, the data that it was trained on, and what numbers are quoted with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.config.schema import RunConfig, resolve
from ganforge.contract.errors import CheckpointError
from ganforge.contract.networks import Generator
from ganforge.data.conditions import draw_classes, draw_labels, labels_of
from ganforge.data.pack import open_configured
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.results.result import now, software_versions
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder
from ganforge.sampling import generate_batches


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
        versions: Versions of the software, by distribution.
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
    versions: dict[str, str] = field(default_factory=software_versions)
    date: str = field(default_factory=now)

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What must be equal for two numbers to be compared, and what need not."""
        known = asdict(self)
        happened = {name: known.pop(name) for name in ("data", "seed", "versions", "date")}
        del known["generator_fingerprint"]  # it is the subject's
        return known, happened


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
        return None if self.data.labels is None else draw_classes(self.data.labels, count, seed)

    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        """Batches of `count` examples, with classes as `draw_labels` draws them, or made of the data's sources."""
        told = labels_of(self.data, torch.arange(len(self.data)))
        labels = None if told is None else draw_labels(told, count, seed)
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
    config = resolve(registry, folder.read_config())
    source, dataset = config.data, None
    if source.source in registry.names("dataset"):
        sized = source.resolution is not None and "resolution" in registry.options("dataset", source.source)
        size = {"resolution": source.resolution} if sized else {}
        dataset = registry.build("dataset", source.source, {**source.options, **size})
    data = open_training_data(config, registry)
    if data.fingerprint != card["data"]["fingerprint"]:
        raise CheckpointError(f"{source.source} changed since the run was trained", "put it back, or train anew")
    return TrainedRun(folder, generator, card, data, dataset)


def open_training_data(config: RunConfig, registry: Registry) -> PackedData:
    """What a run of this configuration is trained on; see `open_data` for errors."""
    return open_configured(config.data, registry)
