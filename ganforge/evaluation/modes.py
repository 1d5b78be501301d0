"""How many modes of the data a generator covers, where the data say what their modes are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ganforge.errors import DataError
from ganforge.evaluation.provenance import now
from ganforge.version import __version__

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


@runtime_checkable
class HasModes(Protocol):
    """A data set of vectors that is a mixture of isotropic Gaussians of equal weight.

    Attributes:
        centers: Means of the modes, ``[K, D]``.
        sigma: Standard deviation of each mode along each axis.
    """

    centers: Tensor
    sigma: float


@runtime_checkable
class HasStackedModes(Protocol):
    """A data set of images whose every channel is an image of another, labelled data set, drawn independently.

    Attributes:
        digits: That data set: grey images with labels, and `class_names`, as `ganforge.Dataset` says.
    """

    digits: Any


@dataclass(frozen=True, kw_only=True)
class ModeCoverage:
    """Which modes samples fall on.

    Attributes:
        num_samples: Number N of samples.
        num_modes: Number K of modes of the data.
        num_covered: Modes on which at least one sample that counts falls.
        high_quality: Share of samples that count, in [0, 1]; None where every sample counts by definition.
        reverse_kl: ``KL(generated || uniform)`` over the modes, in nats; 0 is best, ``ln K`` is one mode alone. None
            if no sample counts.
        mean: Of samples on a line; None for others, and for samples that are not finite.
        deviation: Standard deviation of samples on a line; None likewise.
        counts: Samples that count, by mode.
    """

    num_samples: int
    num_modes: int
    num_covered: int
    high_quality: float | None
    reverse_kl: float | None
    mean: float | None = None
    deviation: float | None = None
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ModesProvenance:
    """What a coverage must be quoted with.

    Attributes:
        protocol: How it was computed, in words.
        num_samples: Number of generated samples.
        seed: Seed of the first; the next has the next.
        truncation: Truncation of the latents; 1 for none.
        data: Name of the data set.
        data_fingerprint: Fingerprint of what the generator was trained on.
        generator_fingerprint: Fingerprint of its weights.
        classifier: Architecture, fingerprints and held-out accuracy of the classifier; None where there is none.
        versions: Versions of ganforge and torch.
        date: When, in ISO 8601, UTC.
    """

    protocol: str
    num_samples: int
    seed: int
    truncation: float
    data: str
    data_fingerprint: str
    generator_fingerprint: str
    classifier: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=lambda: {"ganforge": __version__, "torch": str(torch.__version__)})
    date: str = field(default_factory=now)


@dataclass(frozen=True, kw_only=True)
class ModesResult:
    """A coverage and how it came about.

    Attributes:
        metric: ``modes``.
        coverage: The numbers.
        provenance: What they must be quoted with.
    """

    metric: str = "modes"
    coverage: ModeCoverage
    provenance: ModesProvenance

    def to_json(self) -> str:
        """All of it as a JSON object."""
        return json.dumps(asdict(self), indent=2)

    def describe(self) -> str:
        """The numbers in words, a line each."""
        found = self.coverage
        lines = [f"modes         {found.num_covered} of {found.num_modes}"]
        if found.high_quality is not None:
            lines.append(f"high quality  {found.high_quality:.2%} of {found.num_samples} samples, within 3 sigma")
        value = "not defined, as no sample counts" if found.reverse_kl is None else f"{found.reverse_kl:.4f} nats"
        lines.append(f"reverse KL    {value}, KL(generated || uniform)")
        if found.mean is not None and found.deviation is not None:
            lines.append(f"samples       mean {found.mean:.4f}, deviation {found.deviation:.4f}")
        if self.provenance.classifier is not None:
            accuracy = self.provenance.classifier["accuracy"]
            lines.append(f"classifier    {accuracy:.2%} right on held-out images")
        return "\n".join(lines)


def mode_coverage(samples: Tensor, centers: Tensor, sigma: float) -> ModeCoverage:
    """Count the modes of a mixture of Gaussians that samples fall on, by the protocol of PacGAN.

    Lin et al. 2018, "PacGAN: The Power of Two Samples in Generative Adversarial Networks". Computed in float64. A
    sample that is not finite is of no quality.

    Args:
        samples: ``[N, D]``.
        centers: Means of the modes, ``[K, D]``.
        sigma: Standard deviation of each mode along each axis; above 0.

    Raises:
        DataError: There is no sample, or samples and centres do not fit each other.
    """
    if samples.dim() != 2 or centers.dim() != 2 or samples.shape[1] != centers.shape[1] or not len(samples):
        raise DataError(
            f"samples are {list(samples.shape)}, centres of modes {list(centers.shape)}",
            "they must be [N, D] and [K, D], with at least one sample",
        )
    points, means = samples.double().cpu(), centers.double().cpu()
    # Not by a product of matrices, which loses what is small against the distance from the origin.
    distances = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist")
    to_nearest, modes = distances.min(dim=1)
    counts = torch.bincount(modes[to_nearest <= 3 * sigma], minlength=len(means))
    on_a_line = points.shape[1] == 1 and bool(points.isfinite().all())
    return ModeCoverage(
        num_samples=len(points),
        num_modes=len(means),
        num_covered=int(counts.count_nonzero()),
        high_quality=int(counts.sum()) / len(points),
        reverse_kl=reverse_kl(counts),
        mean=float(points.mean()) if on_a_line else None,
        deviation=float(points.std(correction=0)) if on_a_line else None,
        counts=tuple(counts.tolist()),
    )


def stacked_coverage(labels: Tensor, num_classes: int) -> ModeCoverage:
    """Count the combinations of classes that images fall on, by the protocol of VEEGAN.

    Srivastava et al. 2017, "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning".

    Args:
        labels: Class of each channel, int64 ``[N, C]`` in ``[0, num_classes)``; the first is the leading digit of the
            mode's number.
        num_classes: Number of classes of a channel; there are ``num_classes ** C`` modes.

    Raises:
        DataError: There is no sample, or a label out of range.
    """
    if labels.dim() != 2 or not labels.numel() or labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"labels {list(labels.shape)} do not fit {num_classes} classes", "they must be [N, C]")
    counts = torch.bincount(mode_numbers(labels, num_classes), minlength=num_classes ** labels.shape[1])
    return ModeCoverage(
        num_samples=len(labels),
        num_modes=len(counts),
        num_covered=int(counts.count_nonzero()),
        high_quality=None,
        reverse_kl=reverse_kl(counts),
        counts=tuple(counts.tolist()),
    )


def mode_numbers(labels: Tensor, num_classes: int) -> Tensor:
    """Numbers ``[N]`` of the combinations ``[N, C]`` of classes: digits (3, 1, 4) are mode 314."""
    numbers = torch.zeros(len(labels), dtype=torch.int64)
    for channel in labels.cpu().unbind(dim=1):
        numbers = numbers * num_classes + channel
    return numbers


def reverse_kl(counts: Tensor | Sequence[int]) -> float | None:
    """``KL(q || uniform) = sum_k q_k ln(q_k K)`` of a histogram over K modes, in nats; None for an empty one.

    Modes without a sample contribute 0, the limit of ``q ln q``.
    """
    histogram = torch.as_tensor(counts, dtype=torch.float64)
    if not histogram.sum() > 0:
        return None
    shares = histogram / histogram.sum()
    # xlogy is 0 where the share is; rounding may leave the sum of a uniform histogram a hair below 0.
    return max(0.0, float(torch.xlogy(shares, shares * len(shares)).sum()))
