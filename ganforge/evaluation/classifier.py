"""A small convolutional classifier, trained here in minutes, that tells which class a generated image shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganforge.contract.errors import CheckpointError, DataError, GanforgeError, OptionError
from ganforge.core.images import to_float
from ganforge.core.json_schema import NonNegativeInt, PositiveInt
from ganforge.core.memory import TooLargeError, limit_memory
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.runs.checkpoint import digest_tensors, read_tensors, require_card, save_tensors
from ganforge.version import __version__

ARCHITECTURE = "conv3x3-16-32-64-128"
"""Four 3 x 3 convolutions with batch norm and ReLU, all but the first of stride 2, and one linear layer."""

HOLDOUT = 0.1
"""Share of the images that a classifier is not trained on, but measured by."""


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


_BATCH = 128
_RATE = 2e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Classifier:
    """A trained classifier of images.

    Attributes:
        network: From images ``[N, C, H, W]`` in [-1, 1] to logits ``[N, K]``; in evaluation mode.
        shape: ``(C, H, W)`` of the images that it takes.
        class_names: Names of the K classes.
        accuracy: Share of the held-out images that it classifies rightly.
        num_held_out: Number of held-out images.
        data_name: Short name of the data that it was trained on.
        data_fingerprint: Fingerprint of these.
        seed: Seed of its training.
        epochs: Passes over the data.
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
        """Classes, int64 ``[N]`` on the CPU, of images, uint8 ``[N, C, H, W]`` on any device.

        Raises:
            DataError: The images are no such tensor, or of another size than those of the training.
        """
        return self.logits(images).argmax(dim=1)

    def logits(self, images: Tensor) -> Tensor:
        """Logits, float32 ``[N, K]`` on the CPU, of images, uint8 ``[N, C, H, W]`` on any device.

        Raises:
            DataError: The images are no such tensor, or of another size.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise DataError(
                f"the classifier takes uint8 images [N, {', '.join(map(str, self.shape))}], "
                f"not {images.dtype} {list(images.shape)}",
                "use one that was trained on such images",
            )
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            found = [self.network(to_float(chunk.to(device))).cpu() for chunk in torch.split(images, 512)]
        return torch.cat(found).clone()

    def feature_network(self) -> nn.Module:
        """From images ``[N, C, H, W]`` in [-1, 1] to what it sees in them, ``[N, 128]``; differentiable.

        These features are the means over all pixels of the last convolution's maps, after ReLU.
        """
        return nn.Sequential(self.halves()[0], nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def halves(self) -> tuple[nn.Module, nn.Module]:
        """From images to the maps of the last convolution ``[N, 128, h, w]``, and from these to logits ``[N, K]``."""
        layers = list(self.network.children())
        return nn.Sequential(*layers[:-2]), nn.Sequential(*layers[-2:])

    def describe(self) -> dict[str, Any]:
        """What a value that it took part in must be quoted with."""
        return {
            "architecture": ARCHITECTURE,
            "fingerprint": digest_tensors(self.network.state_dict()),
            "data_fingerprint": self.data_fingerprint,
            "accuracy": self.accuracy,
            "num_held_out": self.num_held_out,
        }

    def save(self, path: Path) -> None:
        """Write weights and all that is known of them as one safetensors file; see `load_classifier`.

        Raises:
            GanforgeError: The file cannot be written.
        """
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
    """Read a classifier that `Classifier.save` wrote; weights and card are compared with their digests.

    Args:
        path: The file.
        device: Where the network goes; None for the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, or holds something else.
    """
    tensors, card = read_tensors(path)
    if card.get("kind") != "classifier":
        raise CheckpointError(f"{path}: holds no classifier but a {card.get('kind', 'thing of unknown kind')}")
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
        with limit_memory(2 * sum(each.nbytes for each in tensors.values())):
            network = _build(tuple(data["shape"]), len(data["class_names"]))
        network.load_state_dict(tensors)
    except (TooLargeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{path}: its weights are not those of a classifier of {len(data['class_names'])} classes for images "
            f"{data['shape']}",
            "the file is damaged, or made by other software",
        ) from error
    return Classifier(
        network=network.to(device or torch.device("cpu")).eval(),
        shape=tuple(data["shape"]),
        class_names=tuple(data["class_names"]),
        accuracy=card["accuracy"],
        num_held_out=card["num_held_out"],
        data_name=data["name"],
        data_fingerprint=data["fingerprint"],
        seed=card["seed"],
        epochs=card["epochs"],
    )


def train_classifier(
    data: PackedData,
    *,
    seed: int = 0,
    epochs: int = 3,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Classifier:
    """Train a classifier on labelled images; a tenth of them, chosen by a hash of their index, is held out.

    Adam (Kingma and Ba 2015) on the cross-entropy, its rate falling to 0 as a cosine. On a CPU the same seed gives the
    same weights.

    Args:
        data: Labelled images of at least two classes.
        seed: Of the first weights and of the order of images.
        epochs: Passes over the images that are not held out.
        device: Where to train; None for the CPU.
        progress: Called after each batch with the number of images seen and of all to be seen.

    Raises:
        DataError: The data are no images, have no classes, or are too few to hold some out.
        OptionError: `epochs` is less than 1.
    """
    if data.labels is None or not data.spec.is_image or data.spec.num_classes < 2:
        raise DataError(
            f"a classifier cannot be trained on {data.name}", "it needs labelled images of at least 2 classes"
        )
    if epochs < 1:
        raise OptionError(f"epochs is {epochs}", "it must be 1 or more")
    held_out = is_held_out(len(data), HOLDOUT)
    seen, unseen = (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]
    if len(seen) < 2 or not len(unseen):
        raise DataError(f"{data.name} has only {len(data)} images", "too few to hold some out")

    device = device or torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _build(data.spec.shape, data.spec.num_classes)
    network.to(device).train()
    order = torch.Generator().manual_seed(seed)
    batch = min(_BATCH, len(seen))
    steps = len(seen) // batch  # what is left over changes with every epoch
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    done = 0
    for _ in range(epochs):
        shuffled = seen[torch.randperm(len(seen), generator=order)]
        for chosen in torch.split(shuffled[: steps * batch], batch):
            logits = network(to_float(data.examples[chosen].to(device)))
            loss = functional.cross_entropy(logits, data.labels[chosen].to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += batch
            if progress is not None:
                progress(done, epochs * steps * batch)

    def classifier(accuracy: float) -> Classifier:
        return Classifier(
            network=network,
            shape=data.spec.shape,
            class_names=data.class_names,
            accuracy=accuracy,
            num_held_out=len(unseen),
            data_name=data.name,
            data_fingerprint=data.fingerprint,
            seed=seed,
            epochs=epochs,
        )

    network.eval()
    return classifier(class_accuracy(classifier(0.0), data.examples[unseen], data.labels[unseen]))


def cached_classifier(
    data: PackedData,
    folder: Path,
    *,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Classifier, str]:
    """The classifier of these data from a folder; trained, and kept there, if it is not in it or is damaged.

    Args:
        data: As for `train_classifier`, and so are `device` and `progress`.
        folder: Where classifiers are kept, by the fingerprint of their data.
        device: Where the network goes.
        progress: Called while it is trained.

    Returns:
        The classifier, and where it came from, in words for the user.

    Raises:
        DataError: As `train_classifier`.
    """
    path = kept_as(data, folder)
    try:
        found = load_classifier(path, device=device)
        if found.data_fingerprint == data.fingerprint:
            return found, f"classifier: {path}"
    except CheckpointError:  # absent, damaged or of an older version: it can be made again
        pass
    trained = train_classifier(data, device=device, progress=progress)
    try:
        trained.save(path)
    except GanforgeError as error:
        return trained, f"a classifier was trained, but not kept: {error.message}"
    return trained, f"a classifier was trained on {data.name} and kept as {path}"


def kept_as(data: PackedData, folder: Path) -> Path:
    """Where `cached_classifier` keeps the classifier of these data."""
    return folder / f"{data.fingerprint[:16]}.safetensors"


def class_accuracy(classifier: Classifier, images: Tensor, labels: Tensor) -> float:
    """Share of images that a classifier takes for the class that they are to show.

    Of generated images with the classes that they were asked for, it tells how well a generator obeys its labels.

    Args:
        classifier: Trained on data of the same classes.
        images: uint8 ``[N, C, H, W]``, with N of at least 1.
        labels: int64 ``[N]``.

    Raises:
        DataError: Images and labels differ in number, or the images do not fit the classifier.
    """
    if not len(images) or labels.shape != images.shape[:1]:
        raise DataError(f"{len(images)} images have labels {list(labels.shape)}", "give one label for each image")
    return float((classifier.predict(images) == labels.cpu()).double().mean())


def _build(shape: tuple[int, ...], num_classes: int) -> nn.Sequential:
    channels, height, width = shape
    layers: list[nn.Module] = []
    for out, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        channels, height, width = out, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, num_classes))
