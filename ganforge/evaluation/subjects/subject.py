"""What is evaluated: whatever draws images, or holds them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.core.images import to_uint8
from ganforge.data.conditions import Labels, SourceImages
from ganforge.data.store import PackedData
from ganforge.evaluation.subjects.image_sets import ImageSet, choose_some, digest_indices
from ganforge.runs.checkpoint import read_spec
from ganforge.sampling import generate_batches


class Subject(ABC):
    """A source of images that are to be compared with real ones.

    Attributes:
        about: What it is, as JSON: ``kind``, ``name``, ``digest``, and what else is known.
        shape: ``(C, H, W)`` of its images.
        num_classes: Classes that it can be asked for; 0 for none.
        source_shape: ``(C, H, W)`` of the images of which it makes its own; empty if it makes them of latents alone.
        most: How many images it has; None for any number.
        home: Folder in which its evaluations are written down.
    """

    about: Mapping[str, Any]
    shape: tuple[int, ...]
    num_classes: int
    source_shape: tuple[int, ...] = ()
    most: int | None = None
    home: Path

    @abstractmethod
    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        """Some images.

        Args:
            start: Number of the first.
            count: N.
            seed: Image i is that of ``seed + i``.
            labels: Classes ``[N]`` of these images, int64; or sources ``[N, *source_shape]`` in [-1, 1]; None where
                there are neither.
            truncation: 1 for none.

        Returns:
            uint8 ``[N, C, H, W]`` on the CPU.

        Raises:
            OptionError: A truncation where there is none.
        """


class GeneratorSubject(Subject):
    """A generator.

    Args:
        generator: On the device that is to compute.
        card: What its file says of it.
        home: Where its evaluations are written down.
        name: What to call it.
        raw: Whether these are the weights as trained, not their average.
    """

    def __init__(
        self, generator: Generator, card: Mapping[str, Any], home: Path, *, name: str, raw: bool = False
    ) -> None:
        self.generator = generator
        self.home = home
        spec = read_spec(card)
        self.shape, self.num_classes, self.source_shape = spec.shape, spec.num_classes, spec.source_shape
        self.about = {
            "kind": "generator",
            "name": name,
            "digest": card["digest"],
            "weights": "raw" if raw else "averaged",
            "images_seen": card.get("images"),
            "trained_on": card["data"].get("fingerprint"),
        }

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        """See `Subject.draw`."""
        (images,) = generate_batches(
            self.generator, count, seed=seed + start, labels=labels, truncation=truncation, batch=count
        )
        return to_uint8(images).cpu()


class ImagesSubject(Subject):
    """Images that exist already, in a folder or a zip, in the order of their names.

    Args:
        data: The images.
        home: Where their evaluations are written down.
        name: What to call them.
    """

    def __init__(self, data: PackedData, home: Path, *, name: str) -> None:
        self.data = data
        self.home = home
        self.shape = data.spec.shape
        self.num_classes = 0
        self.most = len(data)
        self.about = {"kind": "images", "name": name, "digest": data.fingerprint}

    def draw(self, start: int, count: int, *, seed: int, labels: Tensor | None, truncation: float) -> Tensor:
        """See `Subject.draw`."""
        images = torch.empty(count, *self.shape, dtype=torch.uint8)
        self.data.gather(torch.arange(start, start + count), images)
        return images


class SubjectImages(ImageSet):
    """So many images of a subject.

    Of a folder or zip with more images, some are chosen from the seed and keep their order: its first images may all be
    of one class. All of them come as torch-fidelity reads them, sorted by name.

    Args:
        subject: What draws them.
        count: How many.
        seed: Of the first; the next has the next.
        labels: Their classes ``[count]``, int64, or as many images of which they are made; None where there are none.
        truncation: 1 for none.

    Raises:
        OptionError: There are not as many, or they cannot be truncated.
    """

    def __init__(
        self, subject: Subject, count: int, *, seed: int = 0, labels: Labels | None = None, truncation: float = 1.0
    ) -> None:
        channels, height, width = subject.shape
        if subject.most is not None:
            if count > subject.most:
                raise OptionError(f"--samples {count}: {subject.about['name']} has {subject.most} images", "take fewer")
            if truncation != 1.0:
                raise OptionError(f"--truncation {truncation}: these images are drawn already", "leave it out")
        elif truncation != 1.0:  # what cannot be truncated says so now, not after the real images
            subject.draw(0, 1, seed=seed, labels=None if labels is None else labels[:1], truncation=truncation)
        self.name = "generated images"
        self.count = count
        self.shape = (channels, height, width)
        self.labels = labels
        self._subject, self._seed, self._truncation = subject, seed, truncation
        self._rows = None if subject.most is None else choose_some(torch.arange(subject.most), count, seed)
        told = None
        if isinstance(labels, SourceImages):
            told = labels.digest
        elif labels is not None:
            told = hashlib.sha256(labels.numpy().astype("<i8").tobytes()).hexdigest()
        self.identity = {
            "subject": subject.about["digest"],
            "kind": subject.about["kind"],
            "count": count,
            "seed": seed,
            "truncation": truncation,
            "labels": told,
            **({} if self._rows is None else {"rows": digest_indices(self._rows)}),
        }

    def read(self, start: int, stop: int) -> Tensor:
        """See `ImageSet.read`."""
        labels = None if self.labels is None else self.labels[start:stop]
        if self._rows is not None:
            return torch.cat([self._draw(row, 1, None) for row in self._rows[start:stop].tolist()])
        return self._draw(start, stop - start, labels)

    def _draw(self, start: int, count: int, labels: Tensor | None) -> Tensor:
        return self._subject.draw(start, count, seed=self._seed, labels=labels, truncation=self._truncation)
