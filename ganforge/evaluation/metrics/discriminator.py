"""How well a discriminator that classifies tells the classes of examples that it was never shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ganforge.config.schema import RunConfig, resolve
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.networks import ClassifierDiscriminator
from ganforge.core.images import to_float
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.evaluation.results.result import Measured, now
from ganforge.evaluation.statistics import share_interval
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import digest_tensors, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.version import __version__

PROTOCOL = (
    "share of held-out examples, none of which was shown in training, whose class has the highest of the "
    "discriminator's scores (Salimans et al. 2016, section 5)"
)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorAccuracy:
    """How often a discriminator is right about classes, and how that was found.

    Attributes:
        metric: ``discriminator-accuracy``.
        accuracy: Share of held-out examples whose class it tells, in [0, 1].
        by_class: The same by the name of the true class.
        num_examples: Number of held-out examples.
        num_labels: Of how many examples the labels were used in training; None for all.
        images: Real examples that the discriminator had been shown.
        seed: Of the run, from which it follows whose labels were used.
        protocol: How it was computed, in words.
        data: Name of the data.
        data_fingerprint: Fingerprint of these.
        discriminator_fingerprint: Of the discriminator's weights.
        versions: Versions of ganforge and torch.
        date: When, in ISO 8601, UTC.
    """

    metric: str = "discriminator-accuracy"
    accuracy: float
    by_class: dict[str, float]
    num_examples: int
    num_labels: int | None
    images: int
    seed: int
    protocol: str = PROTOCOL
    data: str
    data_fingerprint: str
    discriminator_fingerprint: str
    versions: dict[str, str] = field(default_factory=lambda: {"ganforge": __version__, "torch": str(torch.__version__)})
    date: str = field(default_factory=now)

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        interval = share_interval(self.accuracy, self.num_examples)
        details = {"by_class": self.by_class, "images": self.images, "discriminator": self.discriminator_fingerprint}
        return [Measured(name=self.metric, value=self.accuracy, interval=interval, better="higher", details=details)]

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What must be equal for two numbers to be compared, and what need not."""
        names = ("protocol", "data_fingerprint", "num_examples", "num_labels")
        known = asdict(self)
        return {name: known[name] for name in names}, {
            name: known[name] for name in ("data", "seed", "versions", "date")
        }

    def describe(self) -> str:
        """The numbers in words, a line each."""
        known = "all labels" if self.num_labels is None else f"{self.num_labels} labels"
        worst = min(self.by_class, key=self.by_class.__getitem__)
        return (
            f"accuracy      {self.accuracy:.2%} of {self.num_examples} held-out examples, from {known}\n"
            f"worst class   {worst}, {self.by_class[worst]:.2%}"
        )


def discriminator_accuracy(
    folder: RunFolder, data: PackedData, registry: Registry, device: torch.device
) -> DiscriminatorAccuracy:
    """Let the discriminator of a run's newest checkpoint classify the examples that the run held out.

    Args:
        folder: The run.
        data: What it was trained on.
        registry: Where names are looked up.
        device: Where to compute.

    Raises:
        OptionError: The run held nothing out, or its discriminator does not classify.
        CheckpointError: There is no checkpoint, or it is damaged or of other data.
    """
    config = resolve(registry, folder.read_config())
    if data.labels is None:
        raise OptionError(f"{data.name} has no classes", "its discriminator can be right about none")
    held_out = is_held_out(len(data), config.training.holdout).nonzero()[:, 0]
    if not len(held_out):
        raise OptionError(f"{folder.path} held nothing out", "train with --set training.holdout=0.1")
    network, images = _load_discriminator(folder, config, data, registry)
    predicted = _classify(network.to(device), data.examples[held_out], config.discriminator.name)
    right = (predicted == data.labels[held_out]).double()
    return DiscriminatorAccuracy(
        accuracy=float(right.mean()),
        by_class={
            name: float(right[of_class].mean())
            for label, name in enumerate(data.class_names)
            if (of_class := data.labels[held_out] == label).any()
        },
        num_examples=len(held_out),
        num_labels=config.training.labels,
        images=images,
        seed=config.training.seed,
        data=data.name,
        data_fingerprint=data.fingerprint,
        discriminator_fingerprint=digest_tensors(network.state_dict()),
    )


def _load_discriminator(
    folder: RunFolder, config: RunConfig, data: PackedData, registry: Registry
) -> tuple[ClassifierDiscriminator, int]:
    """The discriminator of the newest checkpoint, in evaluation mode, and how many images it was shown."""
    paths = folder.checkpoint_paths()
    if not paths:
        raise CheckpointError(f"{folder.path} holds no checkpoint", f"ganforge train --resume {folder.path}")
    tensors, card = read_tensors(paths[-1])
    if card["fingerprint"] != data.fingerprint:
        raise CheckpointError(f"{data.name} changed since the run was trained", "put it back, or train anew")
    part = config.discriminator
    network = registry.build("discriminator", part.name, part.options, data.spec)
    if not isinstance(network, ClassifierDiscriminator):
        raise OptionError(f"discriminator '{part.name}' does not classify", "train with --arch semi-supervised")
    prefix = "discriminator/"
    own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    try:
        network.load_state_dict(own)
    except RuntimeError as error:
        text = " ".join(str(error).split())
        raise CheckpointError(f"{paths[-1]}: does not fit discriminator '{part.name}': {text}") from error
    return network.eval(), card["images"]


def _classify(network: ClassifierDiscriminator, examples: Tensor, name: str) -> Tensor:
    """Classes ``[N]`` of examples as they are packed."""
    device = next(network.parameters()).device
    classes = []
    with torch.inference_mode():
        for chunk in torch.split(examples, 512):
            images = to_float(chunk.to(device)) if chunk.dtype == torch.uint8 else chunk.to(device)
            try:
                classes.append(network.classify(network.features(images)).argmax(1).cpu())
            except (OptionError, ValueError) as error:  # it was made without a classifier, or asks for the class
                raise OptionError(
                    f"discriminator '{name}' does not classify: {error}", "train with --arch semi-supervised"
                ) from error
    return torch.cat(classes)
