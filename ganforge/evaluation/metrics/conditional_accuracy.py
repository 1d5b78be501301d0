"""Conditional accuracy: agreement of requested classes with those that a classifier predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Request
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import fork_random_state
from ganforge.evaluation.classes import (
    CLASS_SAMPLES,
    attribute_bits,
    attribute_names,
    describe_classifier,
    list_worst,
    open_for_classes,
    read_classes,
)
from ganforge.evaluation.metrics import condition_vectors
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.statistics import share_interval
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.sampling import cycle_labels, generate, generate_batches

PROTOCOL = (
    "share of generated images that a classifier trained apart reads as the class asked for; classes are asked for in "
    "turn, 0, 1, 2 and so on, so that each counts alike; an attribute is there if the class that was read has it"
)


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """Accuracy of one class: number of images requested, and the share of them predicted as this class."""

    name: str
    num_asked: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class AttributeAccuracy:
    """Accuracy of one attribute.

    Attributes:
        name: Name of the attribute; ``all`` for all together.
        asked: Share of the images with the attribute requested that show it, in [0, 1]; 1 is best.
        unasked: Share of the other images that show it; 0 is best.
    """

    name: str
    asked: float
    unasked: float


@dataclass(frozen=True, kw_only=True)
class ConditionalAccuracy:
    """Accuracy over all images, in [0, 1], and per class; of all attributes together (None without any), and per
    attribute.
    """

    accuracy: float
    classes: tuple[ClassAccuracy, ...]
    all_attributes: AttributeAccuracy | None
    attributes: tuple[AttributeAccuracy, ...]


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Generate images of all classes in turn and classify them."""
    spec, name = run.data.spec, run.data.name
    if spec.numbers and spec.is_image:
        return condition_vectors.measure(run, request, reporter)
    if not spec.is_image:
        raise OptionError(f"{name} holds vectors, not images", "conditional accuracy needs images with classes")
    if spec.num_classes < 2:
        raise OptionError(f"{name} has no classes", "train a conditional generator on images with classes")
    count = request.count or CLASS_SAMPLES
    if count < spec.num_classes:
        raise OptionError(
            f"{count} samples are too few for the {spec.num_classes} classes of {name}",
            f"the minimum is --samples {spec.num_classes}",
        )
    if not is_conditional(run.generator, spec.num_classes, seed=request.seed, truncation=request.truncation):
        raise OptionError(
            "this generator is not conditional: its images do not depend on the class",
            "train a conditional one: --arch cgan, cdcgan, acgan or projection",
        )
    attributes = attribute_names(run.dataset, spec.num_classes)
    classifier = open_for_classes(run, request.classifier, reporter)
    asked = cycle_labels(count, spec.num_classes)
    assert asked is not None
    batches = generate_batches(run.generator, count, seed=request.seed, labels=asked, truncation=request.truncation)
    read = read_classes(classifier, batches, count, reporter)
    found = conditional_accuracy(asked, read, spec.class_names, attributes)
    value = Measured(
        name="conditional-accuracy",
        value=found.accuracy,
        interval=share_interval(found.accuracy, count),
        better="higher",
        details=asdict(found),
    )
    return RunResult(
        found=found,
        values=[value],
        text="\n".join([*_describe(found, count), describe_classifier(classifier)]),
        protocol=run.protocol(PROTOCOL, request, count, classifier),
        seed=request.seed,
    )


def conditional_accuracy(
    asked: Tensor, read: Tensor, class_names: Sequence[str], attributes: Sequence[str] = ()
) -> ConditionalAccuracy:
    """Compare requested with predicted classes, int64 ``[N]`` each; attribute i is bit i of a label."""
    right = (asked == read).double()
    classes = [
        ClassAccuracy(name=name, num_asked=int(chosen.sum()), accuracy=float(right[chosen].mean()))
        for name, chosen in ((name, asked == label) for label, name in enumerate(class_names))
    ]
    wanted, there = (attribute_bits(each, len(attributes)) for each in (asked, read))

    def compare(name: str, wanted: Tensor, there: Tensor) -> AttributeAccuracy:
        asked, unasked = (float(there[chosen].double().mean()) for chosen in (wanted, ~wanted))
        return AttributeAccuracy(name=name, asked=asked, unasked=unasked)

    return ConditionalAccuracy(
        accuracy=float(right.mean()),
        classes=tuple(classes),
        all_attributes=compare("all", wanted, there) if attributes else None,
        attributes=tuple(compare(name, wanted[:, bit], there[:, bit]) for bit, name in enumerate(attributes)),
    )


def is_conditional(generator: Generator, num_classes: int, *, seed: int = 0, truncation: float = 1.0) -> bool:
    """Return whether images of the same latents and noise depend on the class."""
    count, first = 4, None
    device = next(generator.parameters()).device
    for label in range(num_classes):
        # The random state is restored, so that generators with noise of their own draw the same for each class.
        with fork_random_state(device):
            labels = torch.full((count,), label)
            drawn = generate(generator, count, seed=seed, labels=labels, truncation=truncation)
        if first is None:
            first = drawn
        # GPU results may differ in the last bits; values are in [-1, 1].
        elif not torch.allclose(drawn, first, rtol=0, atol=1e-5):
            return True
    return False


def _describe(found: ConditionalAccuracy, count: int) -> list[str]:
    lines = [f"accuracy      {found.accuracy:.2%} of {count} images are classified as requested"]
    lines += list_worst([(each.name, -each.accuracy, (each.accuracy,)) for each in found.classes])
    if found.all_attributes is not None:
        lines.append("attributes    share of images with it, requested and not requested")
        every = (*found.attributes, found.all_attributes)
        lines += list_worst([(each.name, each.unasked - each.asked, (each.asked, each.unasked)) for each in every])
    return lines
