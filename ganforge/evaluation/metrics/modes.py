"""The modes that a run's generator covers: of a mixture, of stacked images, or the classes of labelled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.evaluation.classes import (
    CLASS_SAMPLES,
    attribute_bits,
    attribute_names,
    list_worst,
    open_classifier,
    open_for_classes,
    read_classes,
)
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.metrics import mode_coverage
from ganforge.evaluation.results.narration import Progress, Say, no_progress
from ganforge.evaluation.results.result import Measured
from ganforge.evaluation.subjects.runs import RunProvenance, TrainedRun

GAUSSIAN_SAMPLES = 2_500
"""Samples of a Gaussian mixture, as in PacGAN's experiments."""

STACKED_SAMPLES = 26_000
"""Samples of stacked images, as in VEEGAN's and PacGAN's experiments."""

GAUSSIAN_PROTOCOL = (
    "PacGAN (Lin et al. 2018): a sample is of high quality if it lies within 3 sigma of its nearest centre; a mode is "
    "covered if at least one high-quality sample falls on it; reverse KL = KL(generated || uniform) = "
    "sum_k q_k ln(q_k K), q the histogram of high-quality samples over the K modes, empty modes contributing 0"
)
STACKED_PROTOCOL = (
    "VEEGAN (Srivastava et al. 2017), as PacGAN (Lin et al. 2018) ran it: a classifier names the class of each "
    "channel; a mode is a combination of classes, covered if at least one sample falls on it; reverse KL = "
    "KL(generated || uniform) = sum_k q_k ln(q_k K), q the histogram of all samples over the K modes, empty modes "
    "contributing 0"
)
CLASS_PROTOCOL = (
    "a classifier trained apart names the class of each image, generated with labels in the data's proportions; a mode "
    "is a class of the data, covered if at least one sample falls on it; reverse KL = KL(generated || data) = "
    "sum_k q_k ln(q_k / p_k), q the histogram of all samples over the K classes and p that of the data, empty classes "
    "contributing 0; for balanced data it equals KL(generated || uniform) = sum_k q_k ln(q_k K)"
)


@dataclass(frozen=True, kw_only=True)
class ModesResult:
    """A coverage and how it came about.

    Attributes:
        metric: ``modes``.
        coverage: The numbers.
        provenance: What they must be quoted with.
    """

    against: ClassVar[str] = "uniform"

    metric: str = "modes"
    coverage: mode_coverage.ModeCoverage
    provenance: RunProvenance

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `RunProvenance.quote`."""
        return self.provenance.quote()

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        details = {name: value for name, value in asdict(self).items() if name not in ("metric", "provenance")}
        found = self.coverage
        return [
            Measured(name="modes", value=found.num_covered, better="higher", details=details),
            Measured(name="modes-reverse-kl", value=found.reverse_kl, better="lower"),
        ]

    def describe(self) -> str:
        """The numbers in words, a line each."""
        found = self.coverage
        lines = [f"modes         {found.num_covered} of {found.num_modes}"]
        if found.high_quality is not None:
            lines.append(f"high quality  {found.high_quality:.2%} of {found.num_samples} samples, within 3 sigma")
        value = "not defined, as no sample counts" if not any(found.counts) else "infinite, as the data lack a class"
        if found.reverse_kl is not None:
            value = f"{found.reverse_kl:.4f} nats"
        lines.append(f"reverse KL    {value}, KL(generated || {self.against})")
        if found.mean is not None and found.deviation is not None:
            lines.append(f"samples       mean {found.mean:.4f}, deviation {found.deviation:.4f}")
        lines += self._describe_shares()
        if self.provenance.classifier is not None:
            accuracy = self.provenance.classifier["accuracy"]
            lines.append(f"classifier    {accuracy:.2%} right on held-out images")
        return "\n".join(lines)

    def _describe_shares(self) -> list[str]:
        return []


@dataclass(frozen=True, kw_only=True)
class Share:
    """How frequent something is.

    Attributes:
        name: Of a class or an attribute.
        generated: Share of generated images that show it, in [0, 1].
        data: Share of the data that do.
    """

    name: str
    generated: float
    data: float


@dataclass(frozen=True, kw_only=True)
class ClassModesResult(ModesResult):
    """The coverage of the classes of labelled images.

    Attributes:
        classes: Share of each class, in the order of the labels.
        attributes: Share of each attribute; empty where the data set declares none.
    """

    against: ClassVar[str] = "data"

    classes: tuple[Share, ...]
    attributes: tuple[Share, ...]

    def _describe_shares(self) -> list[str]:
        lines = []
        for title, shares in (("classes", self.classes), ("attributes", self.attributes)):
            if shares:
                rows = [(each.name, each.data - each.generated, (each.generated, each.data)) for each in shares]
                lines += [f"{title:14}share of generated images, share of the data", *list_worst(rows)]
        return lines


def modes_of_run(
    run: TrainedRun,
    *,
    count: int | None,
    seed: int,
    truncation: float,
    classifier: Path | None = None,
    progress: Progress = no_progress,
    say: Say = lambda text: None,
) -> ModesResult:
    """Count the modes that a run covers; how, depends on what its data set declares.

    Args:
        run: The generator and its data.
        count: Generated examples; None for what the protocol takes.
        seed: Of the first example.
        truncation: 1 for none.
        classifier: A file, for images; None to have one trained and kept in the cache.
        progress: Shows how far it is.
        say: Told where the classifier comes from.

    Raises:
        OptionError: The modes of its data are not known, or a classifier is of no use for them.
        CheckpointError: The classifier is damaged or does not fit.
        DataError: The data are too few to train a classifier on.
        PluginError: The data set's attributes do not fit its classes.
    """
    dataset, name = run.dataset, run.data.name
    stacked = isinstance(dataset, mode_coverage.HasStackedModes)
    mixture = not stacked and isinstance(dataset, mode_coverage.HasModes)
    if not (stacked or mixture or (run.data.spec.is_image and run.data.spec.num_classes > 1)):
        raise OptionError(
            f"the modes of {name} are not known",
            "those of images with classes, ring-8, grid-25, gaussian-1d and stacked-mnist are, and of data sets of "
            "plugins that have `centers` and `sigma`, or `digits`",
        )
    if classifier and mixture:
        raise OptionError(f"--classifier {classifier}: {name} needs none", "leave it out")
    count = count or (STACKED_SAMPLES if stacked else GAUSSIAN_SAMPLES if mixture else CLASS_SAMPLES)
    batches = run.generate(count, seed, truncation)
    provenance = partial(run.provenance, count=count, seed=seed, truncation=truncation)
    if mixture:
        samples = torch.cat([batch.cpu() for batch in batches])
        coverage = mode_coverage.mode_coverage(samples, dataset.centers, dataset.sigma)
        return ModesResult(coverage=coverage, provenance=provenance(GAUSSIAN_PROTOCOL))
    if stacked:
        judge = _open_for_channels(run, classifier, progress, say)
        channels = run.data.spec.shape[0]
        single = (batch.flatten(0, 1).unsqueeze(1) for batch in batches)
        labels = read_classes(judge, single, count * channels, progress).view(count, channels)
        coverage = mode_coverage.stacked_coverage(labels, len(judge.class_names))
        return ModesResult(coverage=coverage, provenance=provenance(STACKED_PROTOCOL, classifier=judge))
    attributes = attribute_names(dataset, run.data.spec.num_classes)
    judge = open_for_classes(run, classifier, progress, say)
    labels = read_classes(judge, batches, count, progress)
    return class_modes(run.data, labels, attributes, provenance(CLASS_PROTOCOL, classifier=judge))


def class_modes(
    data: PackedData, labels: Tensor, attributes: Sequence[str], provenance: RunProvenance
) -> ClassModesResult:
    """Count the classes and attributes of generated images beside those of the data.

    Args:
        data: Labelled.
        labels: Classes of the generated images, int64 ``[N]``.
        attributes: Names of the attributes of the data set; attribute i is bit i of a label.
        provenance: What the numbers must be quoted with.
    """
    assert data.labels is not None
    counts = torch.bincount(data.labels, minlength=len(data.class_names))
    coverage = mode_coverage.class_coverage(labels, counts)

    def shares(names: Sequence[str], generated: Tensor, real: Tensor) -> tuple[Share, ...]:
        rows = zip(names, generated.tolist(), real.tolist(), strict=True)
        return tuple(Share(name=name, generated=ours, data=theirs) for name, ours, theirs in rows)

    bits = [attribute_bits(each, len(attributes)).double().mean(dim=0) for each in (labels, data.labels)]
    generated = torch.tensor(coverage.counts, dtype=torch.float64)
    return ClassModesResult(
        coverage=coverage,
        provenance=provenance,
        classes=shares(data.class_names, generated / len(labels), counts.double() / len(data)),
        attributes=shares(attributes, *bits),
    )


def _open_for_channels(run: TrainedRun, file: Path | None, progress: Progress, say: Say) -> Classifier:
    """A classifier for the channels of stacked images, at their size."""
    digits, shape = run.dataset.digits, (1, *run.data.spec.shape[1:])

    def packed() -> PackedData:
        with progress("digits") as show:
            title = f"the digits of {run.data.name}"
            return pack(digits, title, title="digits", resolution=shape[1], progress=show)

    return open_classifier(
        file,
        packed,
        images=f"the channels of {run.data.name}",
        shape=shape,
        class_names=digits.class_names,
        device=run.device,
        progress=progress,
        say=say,
    )
