"""Modes covered by a run's generator: of a mixture, of stacked images, or the classes of labeled images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from ganforge.config.resolution import write_resolution
from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Request
from ganforge.data.packer import pack
from ganforge.data.store import PackedData
from ganforge.evaluation.classes import (
    CLASS_SAMPLES,
    attribute_bits,
    attribute_names,
    describe_classifier,
    list_worst,
    open_classifier,
    open_for_classes,
    read_classes,
)
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.metrics import mode_coverage
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.subjects.runs import TrainedRun

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
class Share:
    """Share of generated images, and of the data, with a class or an attribute, in [0, 1]."""

    name: str
    generated: float
    data: float


@dataclass(frozen=True, kw_only=True)
class Modes:
    """Mode coverage, with the shares of classes and attributes; empty if modes are no classes or without attributes."""

    coverage: mode_coverage.ModeCoverage
    classes: tuple[Share, ...] = ()
    attributes: tuple[Share, ...] = ()


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Count the modes that a run covers, by the protocol for its data set."""
    dataset, name, file = run.dataset, run.data.name, request.classifier
    stacked = isinstance(dataset, mode_coverage.HasStackedModes)
    mixture = not stacked and isinstance(dataset, mode_coverage.HasModes)
    if not (stacked or mixture or (run.data.spec.is_image and run.data.spec.num_classes > 1)):
        raise OptionError(
            f"the modes of {name} are not known",
            "use images with classes, ring-8, grid-25, gaussian-1d, stacked-mnist, or a data set of a plugin with "
            "`centers` and `sigma`, or `digits`",
        )
    if file and mixture:
        raise OptionError(f"--classifier {file}: {name} needs none", "leave it out")
    count = request.count or (STACKED_SAMPLES if stacked else GAUSSIAN_SAMPLES if mixture else CLASS_SAMPLES)
    batches = run.generate(count, request.seed, request.truncation)
    classifier: Classifier | None = None
    if mixture:
        samples = torch.cat([batch.cpu() for batch in batches])
        found = Modes(coverage=mode_coverage.mode_coverage(samples, dataset.centers, dataset.sigma))
        protocol = GAUSSIAN_PROTOCOL
    elif stacked:
        classifier = _open_for_channels(run, file, reporter)
        channels = run.data.spec.shape[0]
        single = (batch.flatten(0, 1).unsqueeze(1) for batch in batches)
        labels = read_classes(classifier, single, count * channels, reporter).view(count, channels)
        found = Modes(coverage=mode_coverage.stacked_coverage(labels, len(classifier.class_names)))
        protocol = STACKED_PROTOCOL
    else:
        attributes = attribute_names(dataset, run.data.spec.num_classes)
        classifier = open_for_classes(run, file, reporter)
        found = _count_classes(run.data, read_classes(classifier, batches, count, reporter), attributes)
        protocol = CLASS_PROTOCOL
    details = asdict(found) if found.classes else {"coverage": asdict(found.coverage)}
    return RunResult(
        found=found,
        values=[
            Measured(name="modes", value=found.coverage.num_covered, better="higher", details=details),
            Measured(name="modes-reverse-kl", value=found.coverage.reverse_kl, better="lower"),
        ],
        text="\n".join([*_describe(found), *([describe_classifier(classifier)] if classifier else [])]),
        protocol=run.protocol(protocol, request, count, classifier),
        seed=request.seed,
    )


def _count_classes(data: PackedData, labels: Tensor, attributes: Sequence[str]) -> Modes:
    """Count classes and attributes of generated images with these labels int64 ``[N]``, and of the data."""
    assert data.labels is not None
    counts = torch.bincount(data.labels, minlength=len(data.class_names))
    coverage = mode_coverage.class_coverage(labels, counts)

    def shares(names: Sequence[str], generated: Tensor, real: Tensor) -> tuple[Share, ...]:
        rows = zip(names, generated.tolist(), real.tolist(), strict=True)
        return tuple(Share(name=name, generated=ours, data=theirs) for name, ours, theirs in rows)

    bits = [attribute_bits(each, len(attributes)).double().mean(dim=0) for each in (labels, data.labels)]
    generated = torch.tensor(coverage.counts, dtype=torch.float64)
    return Modes(
        coverage=coverage,
        classes=shares(data.class_names, generated / len(labels), counts.double() / len(data)),
        attributes=shares(attributes, *bits),
    )


def _open_for_channels(run: TrainedRun, file: Path | None, reporter: Reporter) -> Classifier:
    """Return a classifier for the channels of stacked images."""
    _, height, width = run.data.spec.shape
    digits, shape = run.dataset.digits, (1, height, width)

    def packed() -> PackedData:
        with reporter.progress("digits") as show:
            title = f"the digits of {run.data.name}"
            return pack(digits, title, title="digits", resolution=write_resolution((height, width)), progress=show)

    images = f"the channels of {run.data.name}"
    return open_classifier(
        file, packed, images=images, shape=shape, class_names=digits.class_names, device=run.device, reporter=reporter
    )


def _describe(found: Modes) -> list[str]:
    coverage = found.coverage
    lines = [f"modes         {coverage.num_covered} of {coverage.num_modes}"]
    if coverage.high_quality is not None:
        lines.append(f"high quality  {coverage.high_quality:.2%} of {coverage.num_samples} samples, within 3 sigma")
    value = "undefined: no sample counts" if not any(coverage.counts) else "infinite: the data lack a class"
    if coverage.reverse_kl is not None:
        value = f"{coverage.reverse_kl:.4f} nats"
    lines.append(f"reverse KL    {value}, KL(generated || {'data' if found.classes else 'uniform'})")
    if coverage.mean is not None and coverage.deviation is not None:
        lines.append(f"samples       mean {coverage.mean:.4f}, deviation {coverage.deviation:.4f}")
    for title, shares in (("classes", found.classes), ("attributes", found.attributes)):
        if shares:
            rows = [(each.name, each.data - each.generated, (each.generated, each.data)) for each in shares]
            lines += [f"{title:14}share of generated images, share of the data", *list_worst(rows)]
    return lines
