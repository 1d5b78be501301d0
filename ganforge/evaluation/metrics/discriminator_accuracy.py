"""Discriminator accuracy: classification of held-out examples by a discriminator that classifies."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.config.stored import stored_discriminator, stored_training
from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Request
from ganforge.contract.networks import ClassifierDiscriminator
from ganforge.core.images import to_float
from ganforge.data.splits import is_held_out
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.statistics import share_interval
from ganforge.evaluation.subjects.discriminators import load_discriminator
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.runs.checkpoint import digest_tensors

PROTOCOL = (
    "share of held-out examples, none of which was shown in training, whose class has the highest of the "
    "discriminator's scores (Salimans et al. 2016, section 5)"
)


@dataclass(frozen=True, kw_only=True)
class DiscriminatorAccuracy:
    """Share of held-out examples classified correctly, in [0, 1], over all and by the name of the true class."""

    accuracy: float
    by_class: dict[str, float]


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Classify the held-out examples of a run by the discriminator of its newest checkpoint."""
    folder, data = run.folder, run.data
    config = folder.read_config()
    training = stored_training(config)
    if data.labels is None or data.number_names:
        raise OptionError(f"{data.name} has no classes", "use data with labels")
    held_out = is_held_out(len(data), training.holdout).nonzero()[:, 0]
    if not len(held_out):
        raise OptionError(f"{folder.path} has no held-out examples", "train with --set training.holdout=0.1")
    part = stored_discriminator(run.registry, config)
    network, images = load_discriminator(run, part)
    if not isinstance(network, ClassifierDiscriminator):
        raise OptionError(f"discriminator '{part.name}' does not classify", "train with --arch semi-supervised")
    predicted = _classify(network.to(run.device), data.examples[held_out], part.name)
    right = (predicted == data.labels[held_out]).double()
    found = DiscriminatorAccuracy(
        accuracy=float(right.mean()),
        by_class={
            name: float(right[of_class].mean())
            for label, name in enumerate(data.class_names)
            if (of_class := data.labels[held_out] == label).any()
        },
    )
    count, num_labels = len(held_out), training.labels
    value = Measured(
        name="discriminator-accuracy",
        value=found.accuracy,
        interval=share_interval(found.accuracy, count),
        better="higher",
        details={"by_class": found.by_class, "images": images, "discriminator": digest_tensors(network.state_dict())},
    )
    known = "all labels" if num_labels is None else f"{num_labels} labels"
    worst = min(found.by_class, key=found.by_class.__getitem__)
    return RunResult(
        found=found,
        values=[value],
        text=f"accuracy      {found.accuracy:.2%} of {count} held-out examples, from {known}\n"
        f"worst class   {worst}, {found.by_class[worst]:.2%}",
        protocol={
            "protocol": PROTOCOL,
            "data_fingerprint": data.fingerprint,
            "num_examples": count,
            "num_labels": num_labels,
        },
        seed=training.seed,
    )


def _classify(network: ClassifierDiscriminator, examples: Tensor, name: str) -> Tensor:
    """Return the predicted classes ``[N]`` of packed examples."""
    device = next(network.parameters()).device
    classes = []
    with torch.inference_mode():
        for chunk in torch.split(examples, 512):
            images = to_float(chunk.to(device))
            try:
                classes.append(network.classify(network.features(images)).argmax(1).cpu())
            except (OptionError, ValueError) as error:  # built without a classifier, or needs labels
                raise OptionError(
                    f"discriminator '{name}' does not classify: {error}", "train with --arch semi-supervised"
                ) from error
    return torch.cat(classes)
