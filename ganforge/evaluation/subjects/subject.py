"""Subjects of evaluation: generators and image folders."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.core.images import to_uint8
from ganforge.core.source_code import code_digest
from ganforge.data.conditions import Labels, SourceImages
from ganforge.data.store import PackedData
from ganforge.evaluation.subjects.image_sets import ImageSet, choose_some, digest_indices
from ganforge.runs.checkpoint import read_spec
from ganforge.sampling import generate_batches


class Subject(ABC):
    """Source of images to compare with real ones.

    Attributes:
        about: JSON object with ``kind``, ``name``, ``digest`` and more.
        shape: ``(C, H, W)`` of the images.
        num_classes: Number of classes; 0 for unconditional subjects.
        num_numbers: Length of a condition vector; 0 without.
        source_shape: ``(C, H, W)`` of the source images; empty if there are none.
        most: Number of images; None if unlimited.
        origin: What determines images beside the digest of the weights: options and code of a network.
        home: Folder of ``evaluations.jsonl``.
    """

    about: Mapping[str, Any]
    shape: tuple[int, ...]
    num_classes: int
    num_numbers: int = 0
    source_shape: tuple[int, ...] = ()
    most: int | None = None
    origin: Mapping[str, Any] = MappingProxyType({})
    home: Path

    @abstractmethod
    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        """Return images uint8 ``[N, C, H, W]`` on the CPU.

        Args:
            start: Number of the first image.
            count: N.
            seed: Image i has the seed ``seed + i``.
            labels: Classes ``[N]``, int64; vectors ``[N, num_numbers]``; sources ``[N, *source_shape]`` in [-1, 1];
                or None.
            truncation: Truncation psi; 1 for none.
        """


class GeneratorSubject(Subject):
    """Generator, with the metadata of its file; `raw` weights are those of the training, not their EMA."""

    def __init__(
        self, generator: Generator, card: Mapping[str, Any], home: Path, *, name: str, raw: bool = False
    ) -> None:
        self.generator = generator
        self.home = home
        spec = read_spec(card)
        self.shape, self.num_classes, self.source_shape = spec.shape, spec.num_classes, spec.source_shape
        self.num_numbers = len(spec.numbers)
        self.origin = {**card["generator"], "code": code_digest(type(generator))}
        self.about = {
            "kind": "generator",
            "name": name,
            "digest": card["digest"],
            "weights": "raw" if raw else "averaged",
            "images_seen": card.get("images"),
            "trained_on": card["data"].get("fingerprint"),
        }

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        (images,) = generate_batches(
            self.generator, count, seed=seed + start, labels=labels, truncation=truncation, batch=count
        )
        return to_uint8(images).cpu()


class ImagesSubject(Subject):
    """Existing images of a folder or zip, sorted by name."""

    def __init__(self, data: PackedData, home: Path, *, name: str) -> None:
        self.data = data
        self.home = home
        self.shape = data.spec.shape
        self.num_classes = 0
        self.most = len(data)
        self.about = {"kind": "images", "name": name, "digest": data.fingerprint}

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        return self.data.read_pixels(torch.arange(start, start + count))


class SubjectImages(ImageSet):
    """Images of a subject, with the seed of the first and their classes or source images.

    A larger folder or zip gives a random choice in order, since its first images may all be of one class. Without a
    choice, images come sorted by name, as in torch-fidelity.
    """

    def __init__(
        self, subject: Subject, count: int, *, seed: int = 0, labels: Labels | None = None, truncation: float = 1.0
    ) -> None:
        channels, height, width = subject.shape
        if subject.most is not None:
            if count > subject.most:
                raise OptionError(f"--samples {count}: {subject.about['name']} has {subject.most} images", "take fewer")
            if truncation != 1.0:
                raise OptionError(f"--truncation {truncation}: these are existing images", "leave it out")
        elif truncation != 1.0:  # fail before the real images are processed
            subject.draw(0, 1, seed=seed, labels=None if labels is None else labels[:1], truncation=truncation)
        self.name = "generated images"
        self.count = count
        self.shape = (channels, height, width)
        self.labels = labels
        self._subject, self._seed, self._truncation = subject, seed, truncation
        self._rows = None if subject.most is None else choose_some(torch.arange(subject.most), count, seed)
        digest = None
        if isinstance(labels, SourceImages):
            digest = labels.digest
        elif labels is not None:
            digest = digest_indices(labels)
        self.identity = {
            "subject": subject.about["digest"],
            "kind": subject.about["kind"],
            "origin": dict(subject.origin),
            "count": count,
            "seed": seed,
            "truncation": truncation,
            "labels": digest,
            **({} if self._rows is None else {"rows": digest_indices(self._rows)}),
        }

    def read(self, start: int, stop: int) -> Tensor:
        labels = None if self.labels is None else self.labels[start:stop]
        if self._rows is not None:
            return torch.cat([self._draw(row, 1, None) for row in self._rows[start:stop].tolist()])
        return self._draw(start, stop - start, labels)

    def _draw(self, start: int, count: int, labels: Tensor | None) -> Tensor:
        return self._subject.draw(start, count, seed=self._seed, labels=labels, truncation=self._truncation)
