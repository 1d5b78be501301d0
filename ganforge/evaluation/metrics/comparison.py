"""Comparison of a subject with real images by features, for several metrics in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError
from ganforge.contract.extractor import Extractor
from ganforge.contract.metric import FeatureMetric, Measured, as_measured
from ganforge.core.distributed import ALONE, Workers
from ganforge.data.conditions import Labels, draw_classes, draw_labels, labels_of
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors.inception import InceptionExtractor
from ganforge.evaluation.features.extraction import Dtype, extract, fingerprint_of, prepare
from ganforge.evaluation.features.store import FeatureSet
from ganforge.evaluation.metrics import flag_of
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Evaluation, circumstances
from ganforge.evaluation.subjects.image_sets import DataImages, ImageSet, choose_some, choose_split
from ganforge.evaluation.subjects.participation import describe_participation
from ganforge.evaluation.subjects.subject import Subject, SubjectImages
from ganforge.plugins.part_errors import part_errors

_FEW = 10_000


@dataclass(frozen=True, eq=False, kw_only=True)
class Reference:
    """Reference set: indices ``[N]`` of real images in a split, and the share of the data held out from training."""

    data: PackedData
    split: str
    indices: Tensor
    holdout: float

    @classmethod
    def choose(
        cls, data: PackedData, *, split: str = "train", holdout: float = 0.0, count: int | None = None
    ) -> Reference:
        """Choose images deterministically; see `choose_split` and `choose_some`."""
        indices = choose_some(choose_split(data, split, holdout), count, seed=0)
        return cls(data=data, split=split, indices=indices, holdout=holdout)

    def describe_omitted(self) -> list[str]:
        """Return a note if a search of these images omits training images."""
        trained = len(choose_split(self.data, "train", self.holdout))
        if len(self.indices) == trained:
            return []
        return [f"searched {len(self.indices):,} of {trained:,} training images: copies of others are missed"]

    def draw_labels(self, count: int, seed: int, num_classes: int) -> Tensor:
        """Draw class labels, int64 ``[count]``, in the proportions of these images; uniformly for unlabeled data."""
        chooser = torch.Generator().manual_seed(seed)
        if self.data.labels is None or self.data.number_names:
            return torch.randint(num_classes, (count,), generator=chooser)
        if self.data.spec.num_classes > num_classes:
            raise DataError(
                f"{self.data.name} has {self.data.spec.num_classes} classes, the generator knows {num_classes}",
                "use data whose classes the generator knows",
            )
        labels = self.data.labels[self.indices]
        return labels[torch.randint(len(labels), (count,), generator=chooser)]

    def draw_vectors(self, count: int, seed: int, length: int) -> Tensor:
        """Draw condition vectors, float32 ``[count, length]``, from these images."""
        vectors, found = self.data.labels, len(self.data.number_names)
        if vectors is None or found != length:
            raise DataError(
                f"the generator takes condition vectors of {length} numbers, {self.data.name} has {found or 'none'}",
                "use data with such vectors",
            )
        return draw_classes(vectors[self.indices], count, seed)

    def draw_sources(self, count: int, seed: int, shape: tuple[int, ...]) -> Labels:
        """Draw source images of shape ``(C, H, W)`` from the data."""
        sources = labels_of(self.data, self.indices)
        if sources is None or self.data.spec.source_shape != shape:
            found = describe_shape(self.data.spec.source_shape) if self.data.spec.source_shape else "none"
            raise DataError(
                f"the generator takes source images of {describe_shape(shape)}, {self.data.name} has {found}",
                "use data in such pairs",
            )
        return draw_labels(sources, count, seed)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Options of a comparison: number of samples, seed of the first, truncation psi (1 for none), precision of the
    extractor.

    ``bfloat16`` is for curves during training.
    """

    samples: int
    seed: int = 0
    truncation: float = 1.0
    dtype: Dtype = "float32"


class Comparison:
    """Comparison of a subject with a reference set by one extractor; features are computed on demand."""

    def __init__(
        self,
        subject: Subject,
        reference: Reference,
        extractor: Extractor,
        protocol: Protocol,
        *,
        device: torch.device,
        cache: Path,
        reporter: Reporter = SILENT,
        marking: bool = True,
    ) -> None:
        shape, wanted = tuple(subject.shape), reference.data.spec.shape
        if shape != wanted:
            raise DataError(
                f"generated images are {describe_shape(shape)}, {reference.data.name} has {describe_shape(wanted)}",
                "compare images of equal size and number of channels",
            )
        labels: Labels | None = None
        if subject.num_classes:
            labels = reference.draw_labels(protocol.samples, protocol.seed, subject.num_classes)
        if subject.num_numbers:
            labels = reference.draw_vectors(protocol.samples, protocol.seed, subject.num_numbers)
        if subject.source_shape:
            labels = reference.draw_sources(protocol.samples, protocol.seed, subject.source_shape)
        self.subject, self.reference, self.extractor, self.protocol = subject, reference, extractor, protocol
        self.real_images = DataImages(reference.data, reference.indices)
        self.fake_images = SubjectImages(
            subject, protocol.samples, seed=protocol.seed, labels=labels, truncation=protocol.truncation
        )
        self.reporter, self.marking = reporter, marking
        self._device, self._cache = device, cache

    @cached_property
    def reals(self) -> FeatureSet:
        """Features of the real images."""
        return self.extract(self.real_images)

    @cached_property
    def fakes(self) -> FeatureSet:
        """Features of the generated images."""
        return self.extract(self.fake_images)

    def choose_fakes(self, most: int) -> Tensor:
        """Return the indices of at most `most` generated images: the first; of a folder or zip, a random choice."""
        count = self.fake_images.count
        if self.subject.most is None:
            return torch.arange(min(count, most))
        return choose_some(torch.arange(count), most, seed=0)

    def extract(self, images: ImageSet, workers: Workers = ALONE) -> FeatureSet:
        """Return the features of images."""
        with self.reporter.progress(f"{self.extractor.label}: {images.name}") as show:
            return extract(
                images,
                self.extractor,
                device=self._device,
                cache=self._cache,
                dtype=self.protocol.dtype,
                progress=show,
                workers=workers,
            )

    def extract_together(self, workers: Workers) -> None:
        """Compute all features by several processes, into the cache of the main process."""
        for images in (self.real_images, self.fake_images):
            self.extract(images, workers)

    def check(self, name: str, metric: FeatureMetric) -> None:
        """Raise OptionError if the extractor does not support a metric, or images are too few."""
        flag, drawn = flag_of(name), metric.least
        if metric.needs_logits and self._probe[1] is None:
            raise OptionError(f"{flag}: extractor '{self.extractor.label}' is no classifier", f"leave {flag} out")
        if type(metric).least_samples is not FeatureMetric.least_samples:
            drawn = metric.least_samples(self._probe[0].shape[1])
        for images, needed in ((self.real_images, metric.least), (self.fake_images, drawn)):
            if images.count < needed:
                there = (
                    f"there is 1 {images.name[:-1]}" if images.count == 1 else f"there are {images.count} {images.name}"
                )
                raise OptionError(f"{flag}: {there}", f"it needs {needed} or more")

    def measure(self, name: str, metric: FeatureMetric, options: Mapping[str, Any] | None = None) -> list[Evaluation]:
        """Return the rows of a metric; its options are parameters of the protocol."""
        self.check(name, metric)
        with part_errors("metric", name):
            found = as_measured(name, metric, metric.measure(self.reals, self.fakes))
        for each in (self.reals, self.fakes):
            each.release()
        return [self.row(replace(each, parameters={**each.parameters, **(options or {})})) for each in found]

    def row(self, measured: Measured) -> Evaluation:
        """Return the row of a value."""
        notes = [*self.extractor.notes, *self._participation]
        if self.protocol.dtype != "float32":
            notes.append(f"features in {self.protocol.dtype}: only for curves during training")
        if measured.name == "fid" and min(self.real_images.count, self.fake_images.count) < _FEW:
            notes.append(f"fewer than {_FEW:,} images: biased upwards; compare only with equal numbers of images")
        protocol = describe_protocol(self.reference, self.extractor, self.protocol)
        return Evaluation(
            metric=name_metric(measured.name, self.extractor, self.protocol.dtype),
            **measured.fields(),
            protocol={**protocol, **measured.parameters},
            subject=self.subject.about,
            circumstances=circumstances(self._device, self.protocol.seed, self.reference.data.name),
            notes=tuple(notes),
        )

    @cached_property
    def _participation(self) -> list[str]:
        return describe_participation(self.subject.home, self.subject.about["name"], self.extractor)

    @cached_property
    def _probe(self) -> tuple[Tensor, Tensor | None]:
        """Features and logits of a black image."""
        black = torch.zeros(1, *self.subject.shape, dtype=torch.uint8)
        return prepare(self.extractor, self._device, self.protocol.dtype)(black)


def describe_protocol(reference: Reference, extractor: Extractor, protocol: Protocol) -> dict[str, Any]:
    """Return the fields that are equal for all comparable values, without the metric's own parameters."""
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
    """Return the name of a metric: FID, KID and IS are those of the published Inception; others name the extractor.

    With the resize of clean-fid, names end in ``_clean``.
    """
    ending = "" if dtype == "float32" else f"_{dtype}"
    if isinstance(extractor, InceptionExtractor) and extractor.is_published:
        return name + "_clean" * extractor.is_clean + ending
    plain = {"fid": "fd", "fid-infinity": "fd-infinity", "kid": "kd"}.get(name, name)
    return f"{plain}_{extractor.label}{ending}"


def describe_shape(shape: Sequence[int]) -> str:
    """Return a shape in words, such as ``32x32 with 3 channels``."""
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' * (channels > 1)}"
