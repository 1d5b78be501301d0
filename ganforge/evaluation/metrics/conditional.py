"""How well a conditional generator obeys its labels: what a classifier reads where a class was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.evaluation.classes import (
    CLASS_SAMPLES,
    attribute_bits,
    attribute_names,
    list_worst,
    open_for_classes,
    read_classes,
)
from ganforge.evaluation.results.narration import Progress, Say, no_progress
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.statistics import share_interval
from ganforge.evaluation.subjects.runs import RunProvenance, TrainedRun
from ganforge.sampling import cycle_labels, generate, generate_batches

PROTOCOL = (
    "share of generated images that a classifier trained apart reads as the class asked for; classes are asked for in "
    "turn, 0, 1, 2 and so on, so that each counts alike; an attribute is there if the class that was read has it"
)


@dataclass(frozen=True, kw_only=True)
class ClassAccuracy:
    """How well one class is obeyed.

    Attributes:
        name: Of the class.
        num_asked: Images for which it was asked.
        accuracy: Share of them that are read as this class, in [0, 1].
    """

    name: str
    num_asked: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class AttributeAccuracy:
    """How well one attribute is obeyed, or all of them together.

    Attributes:
        name: Of the attribute; ``all`` for all together.
        asked: Share of the images for which it was asked that have it, in [0, 1]; 1 is best.
        unasked: Share of the other images that have it all the same; 0 is best.
    """

    name: str
    asked: float
    unasked: float


@dataclass(frozen=True, kw_only=True)
class ConditionalAccuracy:
    """How well labels are obeyed.

    Attributes:
        accuracy: Share of images that are read as the class asked for, in [0, 1].
        classes: The same by class, in the order of the labels.
        all_attributes: Of all attributes together; None where the data set declares none.
        attributes: The same by attribute.
    """

    accuracy: float
    classes: tuple[ClassAccuracy, ...]
    all_attributes: AttributeAccuracy | None
    attributes: tuple[AttributeAccuracy, ...]


@dataclass(frozen=True, kw_only=True)
class ConditionalResult:
    """An accuracy and how it came about.

    Attributes:
        metric: ``conditional-accuracy``.
        found: The numbers.
        provenance: What they must be quoted with.
    """

    metric: str = "conditional-accuracy"
    found: ConditionalAccuracy
    provenance: RunProvenance

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `RunProvenance.quote`."""
        return self.provenance.quote()

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        accuracy = self.found.accuracy
        interval = share_interval(accuracy, self.provenance.num_samples)
        return [
            Measured(name=self.metric, value=accuracy, interval=interval, better="higher", details=asdict(self.found))
        ]

    def describe(self) -> str:
        """The numbers in words, a line each."""
        found, quoted = self.found, self.provenance
        lines = [f"accuracy      {found.accuracy:.2%} of {quoted.num_samples} images are read as the class asked for"]
        lines += list_worst([(each.name, -each.accuracy, (each.accuracy,)) for each in found.classes])
        if found.all_attributes is not None:
            lines.append("attributes    share of images that have it, asked for and not asked for")
            every = (*found.attributes, found.all_attributes)
            lines += list_worst([(each.name, each.unasked - each.asked, (each.asked, each.unasked)) for each in every])
        if quoted.classifier is not None:
            lines.append(f"classifier    {quoted.classifier['accuracy']:.2%} right on held-out images")
        return "\n".join(lines)


def conditional_accuracy(
    asked: Tensor, read: Tensor, class_names: Sequence[str], attributes: Sequence[str] = ()
) -> ConditionalAccuracy:
    """Compare the classes asked for with those that were read.

    Args:
        asked: int64 ``[N]``, with every class at least once.
        read: int64 ``[N]``.
        class_names: In the order of the labels.
        attributes: Names of the attributes; attribute i is bit i of a label.
    """
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
    """Whether labels make a difference: the same latents, and the same noise, are drawn for one class after another.

    Args:
        generator: The network.
        num_classes: Number of classes.
        seed: Of the first latent.
        truncation: 1 for none.
    """
    count, first = 4, None
    device = next(generator.parameters()).device
    for label in range(num_classes):
        # The random state is put back, so a generator that draws noise of its own gets the same for each class.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            labels = torch.full((count,), label)
            drawn = generate(generator, count, seed=seed, labels=labels, truncation=truncation)
        if first is None:
            first = drawn
        # A GPU need not repeat itself to the last bit. What is compared are values in [-1, 1].
        elif not torch.allclose(drawn, first, rtol=0, atol=1e-5):
            return True
    return False


def conditional_accuracy_of_run(
    run: TrainedRun,
    *,
    count: int | None,
    seed: int,
    truncation: float,
    classifier: Path | None = None,
    progress: Progress = no_progress,
    say: Say = lambda text: None,
) -> ConditionalResult:
    """Ask a run's generator for each class in turn and read what it draws.

    Args:
        run: The generator and its data.
        count: Generated images, at least as many as classes; None for 5,000.
        seed: Of the first image.
        truncation: 1 for none.
        classifier: A file; None to have one trained on the run's data and kept in the cache.
        progress: Shows how far it is.
        say: Told where the classifier comes from.

    Raises:
        OptionError: The data are vectors or have no classes, the generator is not conditional, or the count is too
            small.
        CheckpointError: The classifier is damaged or does not fit.
        DataError: The data are too few to train a classifier on.
        PluginError: The data set's attributes do not fit its classes.
    """
    spec, name = run.data.spec, run.data.name
    if not spec.is_image:
        raise OptionError(f"{name} holds vectors, not images", "conditional accuracy needs images with classes")
    if spec.num_classes < 2:
        raise OptionError(f"{name} has no classes to ask for", "train a conditional generator on images with classes")
    count = count or CLASS_SAMPLES
    if count < spec.num_classes:
        raise OptionError(
            f"{count} samples are too few for the {spec.num_classes} classes of {name}",
            f"the least is --samples {spec.num_classes}",
        )
    if not is_conditional(run.generator, spec.num_classes, seed=seed, truncation=truncation):
        raise OptionError(
            "this generator is not conditional: whatever the class, it draws the same",
            "train one that is: --arch cgan, cdcgan, acgan or projection",
        )
    attributes = attribute_names(run.dataset, spec.num_classes)
    judge = open_for_classes(run, classifier, progress, say)
    asked = cycle_labels(count, spec.num_classes)
    assert asked is not None
    batches = generate_batches(run.generator, count, seed=seed, labels=asked, truncation=truncation)
    read = read_classes(judge, batches, count, progress)
    return ConditionalResult(
        found=conditional_accuracy(asked, read, spec.class_names, attributes),
        provenance=run.provenance(PROTOCOL, count=count, seed=seed, truncation=truncation, classifier=judge),
    )
