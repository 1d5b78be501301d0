"""Mode coverage: modes of the data that samples fall on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ganforge.contract.errors import DataError


@runtime_checkable
class HasModes(Protocol):
    """Data set of vectors from a mixture of isotropic Gaussians of equal weight.

    Attributes:
        centers: Means of the modes, ``[K, D]``.
        sigma: Standard deviation of each mode along each axis.
    """

    centers: Tensor
    sigma: float


@runtime_checkable
class HasStackedModes(Protocol):
    """Data set of images whose channels are independently drawn images of another, labeled data set.

    Attributes:
        digits: That data set: grayscale images with labels and `class_names`, see `ganforge.Dataset`.
    """

    digits: Any


@runtime_checkable
class HasAttributes(Protocol):
    """Labeled data set whose classes are all combinations of binary attributes.

    Attributes:
        attribute_names: Names of the A attributes. Bit i of a label, counted from the least significant, is attribute
            i, so there are ``2 ** A`` classes.
    """

    attribute_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ModeCoverage:
    """Mode coverage of samples.

    Attributes:
        num_samples: Number N of samples.
        num_modes: Number K of modes.
        num_covered: Modes with at least one counted sample.
        high_quality: Share of counted samples, in [0, 1]; None if all count by definition.
        reverse_kl: ``KL(generated || uniform)`` over the modes, or to the data's proportions if the modes are classes,
            in nats; 0 is best. None without counted samples, and where infinite: samples of a class without data.
        mean: Mean of 1D samples; None for others, and if samples are not finite.
        deviation: Standard deviation, likewise.
        counts: Counted samples per mode.
    """

    num_samples: int
    num_modes: int
    num_covered: int
    high_quality: float | None
    reverse_kl: float | None
    mean: float | None = None
    deviation: float | None = None
    counts: tuple[int, ...]


def mode_coverage(samples: Tensor, centers: Tensor, sigma: float) -> ModeCoverage:
    """Count the modes of a Gaussian mixture that samples fall on, by the protocol of PacGAN.

    Lin et al. 2018, "PacGAN: The Power of Two Samples in Generative Adversarial Networks". Computed in float64. Samples
    that are not finite do not count.

    Args:
        samples: ``[N, D]``.
        centers: Means of the modes, ``[K, D]``.
        sigma: Standard deviation of each mode along each axis; above 0.
    """
    if samples.dim() != 2 or centers.dim() != 2 or samples.shape[1] != centers.shape[1] or not len(samples):
        raise DataError(
            f"samples are {list(samples.shape)}, centers of modes {list(centers.shape)}",
            "they must be [N, D] and [K, D], with at least one sample",
        )
    points, means = samples.double().cpu(), centers.double().cpu()
    # A matrix product would lose distances that are small against the distance from the origin.
    distances = torch.cdist(points, means, compute_mode="donot_use_mm_for_euclid_dist")
    to_nearest, modes = distances.min(dim=1)
    counts = torch.bincount(modes[to_nearest <= 3 * sigma], minlength=len(means))
    on_a_line = points.shape[1] == 1 and bool(points.isfinite().all())
    found = _count_modes(counts, len(points), high_quality=int(counts.sum()) / len(points))
    if not on_a_line:
        return found
    return replace(found, mean=float(points.mean()), deviation=float(points.std(correction=0)))


def stacked_coverage(labels: Tensor, num_classes: int) -> ModeCoverage:
    """Count the combinations of classes that images fall on, by the protocol of VEEGAN.

    Srivastava et al. 2017, "VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning". Labels int64
    ``[N, C]`` in ``[0, num_classes)`` are the classes of the channels, the most significant first; there are
    ``num_classes ** C`` modes.
    """
    if labels.dim() != 2 or not labels.numel() or labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"labels {list(labels.shape)} do not fit {num_classes} classes", "they must be [N, C]")
    counts = torch.bincount(mode_numbers(labels, num_classes), minlength=num_classes ** labels.shape[1])
    return _count_modes(counts, len(labels))


def class_coverage(labels: Tensor, data_counts: Tensor) -> ModeCoverage:
    """Count the classes of labeled data that images fall on.

    Args:
        labels: Class of each generated image, int64 ``[N]`` in ``[0, K)``.
        data_counts: Examples per class of the data, int64 ``[K]``; an empty class is no mode.
    """
    if labels.dim() != 1 or not len(labels) or labels.min() < 0 or labels.max() >= len(data_counts):
        raise DataError(f"labels {list(labels.shape)} do not fit {len(data_counts)} classes", "they must be [N]")
    counts, there = torch.bincount(labels.cpu(), minlength=len(data_counts)), data_counts.cpu() > 0
    divergence = reverse_kl(counts, data_counts)
    return replace(
        _count_modes(counts, len(labels)),
        num_modes=int(there.sum()),
        num_covered=int(counts[there].count_nonzero()),
        reverse_kl=None if divergence == math.inf else divergence,
    )


def _count_modes(counts: Tensor, num_samples: int, high_quality: float | None = None) -> ModeCoverage:
    return ModeCoverage(
        num_samples=num_samples,
        num_modes=len(counts),
        num_covered=int(counts.count_nonzero()),
        high_quality=high_quality,
        reverse_kl=reverse_kl(counts),
        counts=tuple(counts.tolist()),
    )


def mode_numbers(labels: Tensor, num_classes: int) -> Tensor:
    """Return the numbers ``[N]`` of class combinations ``[N, C]``: digits (3, 1, 4) are mode 314."""
    numbers = torch.zeros(len(labels), dtype=torch.int64)
    for channel in labels.cpu().unbind(dim=1):
        numbers = numbers * num_classes + channel
    return numbers


def reverse_kl(counts: Tensor | Sequence[int], expected: Tensor | Sequence[int] | None = None) -> float | None:
    """Return ``KL(q || p) = sum_k q_k ln(q_k / p_k)`` in nats; None without samples.

    Args:
        counts: Samples per mode ``[K]``, proportional to q. Modes without samples contribute 0.
        expected: Values ``[K]`` proportional to p; None for uniform. A sample where p is 0 makes the result infinite.
    """
    histogram = torch.as_tensor(counts, dtype=torch.float64).cpu()
    if not histogram.sum() > 0:
        return None
    wanted = torch.ones_like(histogram) if expected is None else torch.as_tensor(expected, dtype=torch.float64).cpu()
    hit = histogram > 0
    q, p = (histogram / histogram.sum())[hit], (wanted / wanted.sum())[hit]
    # Rounding may make the sum slightly negative.
    return max(0.0, float((q * (q / p).log()).sum()))
