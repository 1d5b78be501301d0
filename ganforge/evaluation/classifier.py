"""Small convolutional classifier of images, trained in minutes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.errors import CheckpointError, DataError, GanforgeError, OptionError
from ganforge.core.json_schema import NonNegativeInt, PositiveInt
from ganforge.core.memory import TooLargeError, limit_memory
from ganforge.data.store import PackedData
from ganforge.evaluation.small_network import (
    ARCHITECTURE,
    build_network,
    run_network,
    split_images,
    train_network,
)
from ganforge.runs.checkpoint import digest_tensors, read_tensors, require_card, save_tensors
from ganforge.version import __version__


class _Data(TypedDict):
    name: str
    fingerprint: str
    shape: list[PositiveInt]
    class_names: list[str]


class _Card(TypedDict):
    data: _Data
    accuracy: float
    num_held_out: NonNegativeInt
    seed: int
    epochs: int


LEAST_LEARNED = 0.1
"""Least share of the way from guessing to no error that a useful classifier has made."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """Trained image classifier.

    Attributes:
        network: Network from images ``[N, C, H, W]`` in [-1, 1] to logits ``[N, K]``, in eval mode.
        shape: ``(C, H, W)`` of the images.
        class_names: Names of the K classes.
        accuracy: Accuracy on the held-out images, in [0, 1].
        num_held_out: Number of held-out images.
        data_name: Name of the training data.
        data_fingerprint: Fingerprint of the training data.
        seed: Seed of the training.
        epochs: Epochs of the training.
    """

    network: nn.Module
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    accuracy: float
    num_held_out: int
    data_name: str
    data_fingerprint: str
    seed: int
    epochs: int

    def predict(self, images: Tensor) -> Tensor:
        """Return classes, int64 ``[N]`` on the CPU, of images, uint8 ``[N, C, H, W]``; see `logits`."""
        return self.logits(images).argmax(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Return logits, float32 ``[N, K]`` on the CPU, of images, uint8 ``[N, C, H, W]`` on any device."""
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise DataError(
                f"the classifier takes uint8 images [N, {', '.join(map(str, self.shape))}], "
                f"not {images.dtype} {list(images.shape)}",
                "use one that was trained on such images",
            )
        return run_network(self.network, images)

    def feature_network(self) -> nn.Module:
        """Return a differentiable network from images ``[N, C, H, W]`` in [-1, 1] to features ``[N, 128]``.

        Features are the spatial means of the last convolution, after ReLU.
        """
        return nn.Sequential(self.halves()[0], nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """Return networks from images to maps ``[N, 128, h, w]`` of the last convolution, and to logits ``[N, K]``."""
        layers = list(self.network.children())
        return nn.Sequential(*layers[:-2]), nn.Sequential(*layers[-2:])

    def describe(self) -> dict[str, Any]:
        """Return the protocol fields of the classifier."""
        return {
            "architecture": ARCHITECTURE,
            "fingerprint": digest_tensors(self.network.state_dict()),
            "data_fingerprint": self.data_fingerprint,
            "accuracy": self.accuracy,
            "num_held_out": self.num_held_out,
        }

    def describe_accuracy(self) -> str:
        """Return the accuracy in words, with a warning if it is close to that of guessing."""
        chance = 1 / len(self.class_names)
        found = f"it is right on {self.accuracy:.1%} of {self.num_held_out} held-out images"
        if self.accuracy - chance > LEAST_LEARNED * (1 - chance):
            return found
        return f"{found}; warning: guessing is right on {chance:.1%}, so measurements in its features mean little"

    def save(self, path: Path) -> None:
        """Write weights and metadata as a safetensors file; see `load_classifier`."""
        card = {
            "kind": "classifier",
            "architecture": ARCHITECTURE,
            "data": {
                "name": self.data_name,
                "fingerprint": self.data_fingerprint,
                "shape": list(self.shape),
                "class_names": list(self.class_names),
            },
            "accuracy": self.accuracy,
            "num_held_out": self.num_held_out,
            "seed": self.seed,
            "epochs": self.epochs,
            "version": __version__,
        }
        save_tensors(path, self.network.state_dict(), card)


def load_classifier(path: Path, *, device: torch.device | None = None) -> Classifier:
    """Read a file of `Classifier.save`, and verify its digests.

    Raises:
        CheckpointError: The file is missing, damaged, or no classifier.
    """
    tensors, card = read_tensors(path)
    if card.get("kind") != "classifier":
        raise CheckpointError(f"{path}: holds no classifier but a {card.get('kind', 'file of unknown kind')}")
    if card.get("architecture") != ARCHITECTURE:
        raise CheckpointError(
            f"{path}: holds a classifier of the architecture {card.get('architecture')}, "
            f"this version reads {ARCHITECTURE}",
            "train it again: leave --classifier out",
        )
    require_card(path, card, _Card)
    data = card["data"]
    try:
        if not data["class_names"]:
            raise ValueError("it has no classes")
        with limit_memory(
            2 * sum(each.nbytes for each in tensors.values())
        ):  # metadata may claim more than the file holds
            network = build_network(tuple(data["shape"]), len(data["class_names"]))
        network.load_state_dict(tensors)
    except (TooLargeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: its weights are not those of a classifier of {len(data['class_names'])} classes for images "
            f"{data['shape']}",
            "the file is damaged, or from other software",
        ) from error
    return Classifier(
        network=network.to(device or torch.device("cpu")).eval(),
        shape=tuple(data["shape"]),
        class_names=tuple(data["class_names"]),
        data_name=data["name"],
        data_fingerprint=data["fingerprint"],
        **{name: card[name] for name in ("accuracy", "num_held_out", "seed", "epochs")},
    )


def train_classifier(
    data: PackedData,
    *,
    seed: int = 0,
    epochs: int = 3,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Classifier:
    """Train a classifier on labeled images; a tenth, chosen by a hash of the index, is held out.

    The loss is cross-entropy; see `train_network`.

    Args:
        data: Labeled images of two classes or more.
        seed: Seed of the initial weights and of the order of images.
        epochs: Number of epochs, 1 or more.
        device: Device of the training; None for the CPU.
        progress: Called after each batch with the number of images seen and the total.

    Raises:
        DataError: The data are no images, unlabeled, or too few.
        OptionError: `epochs` is less than 1.
    """
    if data.labels is None or not data.spec.is_image or data.spec.num_classes < 2:
        raise DataError(
            f"a classifier cannot be trained on {data.name}", "it needs labeled images of at least 2 classes"
        )
    if epochs < 1:
        raise OptionError(f"epochs is {epochs}", "it must be 1 or more")
    _, unseen = split_images(data)
    trained = Classifier(
        network=train_network(
            data,
            data.labels,
            data.spec.num_classes,
            functional.cross_entropy,
            seed=seed,
            epochs=epochs,
            device=device,
            progress=progress,
        ),
        shape=data.spec.shape,
        class_names=data.class_names,
        accuracy=0.0,
        num_held_out=len(unseen),
        data_name=data.name,
        data_fingerprint=data.fingerprint,
        seed=seed,
        epochs=epochs,
    )
    return replace(trained, accuracy=class_accuracy(trained, data.read_pixels(unseen), data.labels[unseen]))


def cached_classifier(
    data: PackedData,
    folder: Path,
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Classifier, str]:
    """Return the classifier of some data from a folder, trained if missing or damaged, and a message on its origin."""
    path = kept_as(data, folder)
    try:
        found = load_classifier(path, device=device)
        if found.data_fingerprint == data.fingerprint:
            return found, f"classifier: {path}"
    except CheckpointError:  # missing, damaged or of an older version
        pass
    trained = train_classifier(data, device=device, progress=progress)
    try:
        trained.save(path)
    except GanforgeError as error:
        return trained, f"a classifier was trained, but not saved: {error.message}"
    return trained, f"a classifier was trained on {data.name} and saved as {path}"


def kept_as(data: PackedData, folder: Path) -> Path:
    """Return the path of a cached classifier."""
    return folder / f"{data.fingerprint[:16]}.safetensors"


def class_accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    """Return the share of images uint8 ``[N, C, H, W]`` whose predicted class is the label, int64 ``[N]``."""
    if not len(images) or labels.shape != images.shape[:1]:
        raise DataError(f"{len(images)} images have labels {list(labels.shape)}", "give one label for each image")
    return float((classifier.predict(images) == labels.cpu()).double().mean())
