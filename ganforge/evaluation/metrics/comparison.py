"""Compares a subject with real images by features: several metrics in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.core.distributed import Workers
from ganforge.data.conditions import Labels, draw_labels, labels_of
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors.inception import InceptionExtractor
from ganforge.evaluation.features.extraction import Dtype, extract, extract_together, fingerprint_of, prepare
from ganforge.evaluation.features.store import FeatureSet
from ganforge.evaluation.metrics.measures import LEAST_IMAGES, MEASURES, POINTS
from ganforge.evaluation.results.narration import Progress, no_progress
from ganforge.evaluation.results.result import Evaluation, Measured, circumstances
from ganforge.evaluation.subjects.image_sets import DataImages, ImageSet, choose_some, choose_split
from ganforge.evaluation.subjects.subject import Subject, SubjectImages

_FEW = 10_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """Real images that subjects are compared with.

    Attributes:
        data: Where they are.
        split: Which part of the data: ``all``, ``train`` or ``held-out``.
        indices: Which images of it, int64 ``[N]``.
        holdout: Share of the data that was held out from training.
    """

    data: PackedData
    split: str
    indices: Tensor
    holdout: float

    @classmethod
    def choose(
        cls, data: PackedData, *, split: str = "train", holdout: float = 0.0, count: int | None = None
    ) -> Reference:
        """Choose images, the same ones each time; see `choose_split` and `choose_some` for arguments and errors."""
        indices = choose_some(choose_split(data, split, holdout), count, seed=0)
        return cls(data=data, split=split, indices=indices, holdout=holdout)

    def draw_labels(self, count: int, seed: int, num_classes: int) -> Tensor:
        """Classes for a generator, int64 ``[count]``: in the proportions of these images, evenly if they have none.

        Args:
            count: How many.
            seed: Which ones are drawn, follows from it.
            num_classes: How many the generator knows, 1 or more.

        Raises:
            DataError: These images show a class that it does not know.
        """
        chooser = torch.Generator().manual_seed(seed)
        if self.data.labels is None:
            return torch.randint(num_classes, (count,), generator=chooser)
        if self.data.spec.num_classes > num_classes:
            raise DataError(
                f"{self.data.name} has {self.data.spec.num_classes} classes, the generator knows {num_classes}",
                "each real image must be of a class that the generator knows",
            )
        labels = self.data.labels[self.indices]
        return labels[torch.randint(len(labels), (count,), generator=chooser)]

    def draw_sources(self, count: int, seed: int, shape: tuple[int, ...]) -> Labels:
        """Images for a generator to make its own of: those that these images come with, in turn.

        Args:
            count: How many.
            seed: Their order follows from it.
            shape: ``(C, H, W)`` that the generator takes.

        Raises:
            DataError: These images come with none, or with others.
        """
        sources = labels_of(self.data, self.indices)
        if sources is None or self.data.spec.source_shape != shape:
            found = describe_shape(self.data.spec.source_shape) if self.data.spec.source_shape else "none"
            raise DataError(
                f"the generator makes images of others, {describe_shape(shape)}, and those of {self.data.name} come "
                f"with {found}",
                "give data in such pairs",
            )
        return draw_labels(sources, count, seed)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How images are compared, as the user asks for it.

    Attributes:
        samples: Generated images.
        seed: Of the first.
        truncation: 1 for none.
        dtype: Of the extractor's numbers; ``bfloat16`` is for curves alone.
    """

    samples: int
    seed: int = 0
    truncation: float = 1.0
    dtype: Dtype = "float32"


class Comparison:
    """A subject beside real images in the space of one extractor; features are computed when they are asked for.

    Args:
        subject: Draws images.
        reference: The real ones.
        extractor: Turns images into features.
        protocol: How many are drawn, and how.
        device: Where features are computed.
        cache: Where they are kept.
        progress: Shows how far it is.

    Raises:
        DataError: Images of the two are of different shapes.
        OptionError: The subject has not as many images, or cannot be truncated.
    """

    def __init__(
        self,
        subject: Subject,
        reference: Reference,
        extractor: Extractor,
        protocol: Protocol,
        *,
        device: torch.device,
        cache: Path,
        progress: Progress = no_progress,
    ) -> None:
        shape, wanted = tuple(subject.shape), reference.data.spec.shape
        if shape != wanted:
            raise DataError(
                f"generated images are {describe_shape(shape)}, {reference.data.name} has {describe_shape(wanted)}",
                "only images of one size and of as many channels are compared",
            )
        labels: Labels | None = None
        if subject.num_classes:
            labels = reference.draw_labels(protocol.samples, protocol.seed, subject.num_classes)
        if subject.source_shape:
            labels = reference.draw_sources(protocol.samples, protocol.seed, subject.source_shape)
        self.subject, self.reference, self.extractor, self.protocol = subject, reference, extractor, protocol
        self.real_images = DataImages(reference.data, reference.indices)
        self.fake_images = SubjectImages(
            subject, protocol.samples, seed=protocol.seed, labels=labels, truncation=protocol.truncation
        )
        self._device, self._cache, self._progress = device, cache, progress

    @cached_property
    def reals(self) -> FeatureSet:
        """Features of the real images; see `extract` for what is kept, and for errors."""
        return self.extract(self.real_images)

    @cached_property
    def fakes(self) -> FeatureSet:
        """Features of the generated images."""
        return self.extract(self.fake_images)

    def extract(self, images: ImageSet) -> FeatureSet:
        """Features of any images of the same shape."""
        with self._progress(f"{self.extractor.label}: {images.name}") as show:
            return extract(
                images,
                self.extractor,
                device=self._device,
                cache=self._cache,
                dtype=self.protocol.dtype,
                progress=show,
            )

    def extract_together(self, workers: Workers) -> None:
        """Let a team compute the features of both, and leave them in the leading process's cache."""
        for images in (self.real_images, self.fake_images):
            with self._progress(f"{self.extractor.label}: {images.name}") as show:
                extract_together(
                    images,
                    self.extractor,
                    workers,
                    device=self._device,
                    cache=self._cache,
                    dtype=self.protocol.dtype,
                    progress=show,
                )

    def check(self, metric: str) -> None:
        """Refuse a metric before any image is looked at.

        Raises:
            OptionError: It cannot be had of this extractor, or of so few images.
        """
        if metric == "is" and self._probe[1] is None:
            raise OptionError(f"--is: extractor '{self.extractor.label}' is no classifier", "leave --is out")
        least = LEAST_IMAGES.get(metric, 1)
        drawn = self._probe[0].shape[1] + POINTS if metric == "fid-infinity" else least
        for images, needed in ((self.real_images, least), (self.fake_images, drawn)):
            if images.count < needed:
                there = (
                    f"there is 1 {images.name[:-1]}" if images.count == 1 else f"there are {images.count} {images.name}"
                )
                raise OptionError(f"--{metric}: {there}", f"it needs {needed} or more")

    def measure(self, metric: str) -> list[Evaluation]:
        """The numbers of one metric of `MEASURES`.

        Raises:
            DataError: There are too few images for it.
            OptionError: See `check`.
            CheckpointError: Features are not finite.
            PluginError: The extractor breaks its contract.
            GanforgeError: The cache cannot be written.
        """
        self.check(metric)
        found = MEASURES[metric](self.reals, self.fakes)
        for each in (self.reals, self.fakes):
            each.release()
        return [self.row(each) for each in found]

    def row(self, measured: Measured) -> Evaluation:
        """A number with all that it must be quoted with."""
        protocol = describe_protocol(self.subject, self.reference, self.extractor, self.protocol)
        notes = list(self.extractor.notes)
        if self.protocol.dtype != "float32":
            notes.append(f"features in {self.protocol.dtype}: for curves alone")
        if measured.name == "fid" and min(self.real_images.count, self.fake_images.count) < _FEW:
            notes.append(f"fewer than {_FEW:,} images: biased upwards; compare only with equal numbers of images")
        return Evaluation(
            metric=name_metric(measured.name, self.extractor, self.protocol.dtype),
            value=measured.value,
            interval=measured.interval,
            better=measured.better,
            details=measured.details,
            protocol={**protocol, **measured.parameters},
            subject=self.subject.about,
            circumstances=circumstances(self._device, self.protocol.seed, self.reference.data.name),
            notes=tuple(notes),
        )

    @cached_property
    def _probe(self) -> tuple[Tensor, Tensor | None]:
        """Features and logits of a black image, which tell what the extractor has to offer."""
        black = torch.zeros(1, *self.subject.shape, dtype=torch.uint8)
        return prepare(self.extractor, self._device, self.protocol.dtype)(black)


def describe_protocol(
    subject: Subject, reference: Reference, extractor: Extractor, protocol: Protocol
) -> dict[str, Any]:
    """What must be equal for two values to be compared, but for the metric's own parameters."""
    return {
        "extractor": extractor.label,
        "weights_sha256": fingerprint_of(extractor),
        "preprocessing": extractor.preprocessing,
        "dtype": protocol.dtype,
        "num_samples": protocol.samples,
        "num_references": len(reference.indices),
        "split": reference.split,
        **({} if reference.split == "all" else {"holdout": reference.holdout}),
        "data_fingerprint": reference.data.fingerprint,
        "references": DataImages(reference.data, reference.indices).identity["indices"],
        "images": describe_shape(reference.data.spec.shape),
        "truncation": protocol.truncation,
    }


def name_metric(name: str, extractor: Extractor, dtype: Dtype = "float32") -> str:
    """What a metric is called: only the published Inception's is FID, all others are named after their extractor."""
    ending = "" if dtype == "float32" else f"_{dtype}"
    if isinstance(extractor, InceptionExtractor) and extractor.is_published:
        return name + ending
    plain = {"fid": "fd", "fid-infinity": "fd-infinity", "kid": "kd"}.get(name, name)
    return f"{plain}_{extractor.label}{ending}"


def describe_shape(shape: Sequence[int]) -> str:
    """A shape in words, such as ``32x32 with 3 channels``."""
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
