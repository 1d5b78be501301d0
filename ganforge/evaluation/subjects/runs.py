"""Trained runs: generator, training data and protocol fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.config.resolution import size_of
from ganforge.config.stored import stored_data
from ganforge.contract.errors import CheckpointError
from ganforge.contract.metric import Request
from ganforge.contract.networks import Generator
from ganforge.data.conditions import draw_classes, draw_labels, labels_of
from ganforge.data.pack import open_configured
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import Classifier
from ganforge.plugins.registry import Registry
from ganforge.runs.folder import RunFolder
from ganforge.sampling import generate_batches


@dataclass(frozen=True)
class TrainedRun:
    """Generator of a run with the metadata of its file, and its training data.

    The data set may declare modes or attributes; it is None for data from a path.
    """

    folder: RunFolder
    generator: Generator
    card: Mapping[str, Any]
    data: PackedData
    dataset: Any
    registry: Registry

    @property
    def device(self) -> torch.device:
        """Device of the generator."""
        return next(self.generator.parameters()).device

    def draw_labels(self, count: int, seed: int) -> Tensor | None:
        """Draw classes ``[count]`` or vectors ``[count, K]`` of the data; None for unlabeled data."""
        return None if self.data.labels is None else draw_classes(self.data.labels, count, seed)

    def generate(self, count: int, seed: int, truncation: float) -> Iterator[Tensor]:
        """Yield batches of `count` examples, with classes or source images of the data."""
        known = labels_of(self.data, torch.arange(len(self.data)))
        labels = None if known is None else draw_labels(known, count, seed)
        return generate_batches(self.generator, count, seed=seed, labels=labels, truncation=truncation)

    def protocol(self, text: str, request: Request, count: int, classifier: Classifier | None) -> dict[str, Any]:
        """Return the fields that are equal for all comparable values of a metric."""
        return {
            "protocol": text,
            "num_samples": count,
            "truncation": request.truncation,
            "data_fingerprint": self.data.fingerprint,
            "classifier": None if classifier is None else classifier.describe(),
        }


def open_run(weights: Path, generator: Generator, card: Mapping[str, Any], registry: Registry) -> TrainedRun:
    """Open the run of a ``generator.safetensors``, with its network and metadata."""
    folder = RunFolder(weights.parent)
    if not folder.config.is_file():
        raise CheckpointError(f"{weights} is in no run, so its data are not known", "evaluate the run")
    source, dataset = stored_data(registry, folder.read_config()), None
    if source.source in registry.names("dataset"):
        size = {}
        if source.resolution is not None and "resolution" in registry.options("dataset", source.source):
            size = {"resolution": max(size_of(source.resolution))}
        dataset = registry.build("dataset", source.source, {**source.options, **size})
    data = open_configured(source, registry)
    if data.fingerprint != card["data"].get("fingerprint"):
        raise CheckpointError(f"{source.source} changed since the run was trained", "restore it, or train again")
    return TrainedRun(folder, generator, card, data, dataset, registry)
