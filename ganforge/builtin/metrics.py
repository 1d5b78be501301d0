"""Built-in metrics; each imports its module when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ganforge import FeatureMetric, Metric, RunMetric, hookimpl
from ganforge.evaluation.metrics.comparing import ComparisonMetric

if TYPE_CHECKING:
    from torch import Tensor


class Fid(FeatureMetric):
    """Frechet inception distance (Heusel et al. 2017)."""

    in_training = True

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("fid").measure_fid(reals, fakes)

    def scorer(self, reals: Tensor) -> Callable[[Tensor], float]:
        from ganforge.evaluation.statistics import Moments, frechet_distance

        moments = Moments.of(reals)
        return lambda fakes: frechet_distance(moments, Moments.of(fakes))


class FidInfinity(FeatureMetric):
    """FID extrapolated to infinitely many samples (Chong and Forsyth 2020)."""

    least = 4

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("fid").measure_fid_infinity(reals, fakes)

    def least_samples(self, width: int) -> int:
        points: int = _module("fid").POINTS
        return width + points


class Kid(FeatureMetric):
    """Kernel inception distance, unbiased for few images (Binkowski et al. 2018)."""

    least = 4
    in_training = True

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("kid").measure_kid(reals, fakes)

    def scorer(self, reals: Tensor) -> Callable[[Tensor], float]:
        from ganforge.evaluation.statistics import kernel_distance

        return lambda fakes: kernel_distance(reals, fakes, subset_size=min(1000, len(reals), len(fakes))).mean


class InceptionScore(FeatureMetric):
    """Inception score, without real images (Salimans et al. 2016)."""

    needs_logits = True

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("inception_score").measure_inception_score(reals, fakes)


class Prc(FeatureMetric):
    """Precision, recall, density and coverage (Kynkaanniemi et al. 2019; Naeem et al. 2020)."""

    least = 6

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("prc").measure_prc(reals, fakes)


class FdDinoV2(FeatureMetric):
    """FD-DINOv2: Frechet distance of the features of DINOv2 ViT-L/14 (Stein et al. 2023).

    Args:
        weights: Meta's ``dinov2_vitl14_pretrain.pth`` or its tensors; empty to search for it as the extractor does.
    """

    def __init__(self, *, weights: str = "") -> None:
        self.extractor = _with_weights("dinov2:size=l", weights)

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("fid").measure_fid(reals, fakes)


class Cmmd(FeatureMetric):
    """CMMD: discrepancy of CLIP ViT-L/14 embeddings at 336 pixels, unbiased (Jayasumana et al. 2024).

    Args:
        weights: OpenAI's file, or CLIP's tensors; empty to search for it as the extractor does.
    """

    least = 4

    def __init__(self, *, weights: str = "") -> None:
        self.extractor = _with_weights("clip:model=vit-l-14-336px", weights)

    def measure(self, reals: Any, fakes: Any) -> Any:
        return _module("cmmd").measure_cmmd(reals, fakes)


class Authenticity(ComparisonMetric):
    """Share of samples that are no noisy copies of training images (Alaa et al. 2022)."""

    samples = 10_000

    def check(self, comparison: Any) -> None:
        _module("authenticity").check_authenticity(comparison)

    def report(self, comparison: Any, home: Path) -> Any:
        from ganforge.evaluation.results.formatting import describe_rows

        rows = _module("authenticity").measure_authenticity(comparison)
        return rows, describe_rows(rows)


class Memorization(ComparisonMetric):
    """Memorization: nearest training images, and a test for copies."""

    least = 1
    samples = 10_000

    def check(self, comparison: Any) -> None:
        _module("memorization").check_memorization(comparison)

    def report(self, comparison: Any, home: Path) -> Any:
        return _module("memorization").report_memorization(comparison, home)


class PathLength(RunMetric):
    """Perceptual path length in latent space (Karras et al. 2019)."""

    flags = ("--samples", "--space", "--distance", "--classifier", "--inception-weights", "--lpips-weights")

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("path_length").measure(run, request, reporter)


class Modes(RunMetric):
    """Mode coverage by classes, or by the modes of the data."""

    flags = ("--samples", "--classifier")

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("modes").measure(run, request, reporter)


class ConditionalAccuracy(RunMetric):
    """Share of samples that show the requested class."""

    flags = ("--samples", "--classifier")

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("conditional_accuracy").measure(run, request, reporter)


class DiscriminatorAccuracy(RunMetric):
    """Class accuracy of the discriminator on held-out examples."""

    flags: ClassVar[tuple[str, ...]] = ()

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("discriminator_accuracy").measure(run, request, reporter)


class LinearProbe(RunMetric):
    """Accuracy of a linear classifier on the discriminator's features (Radford et al. 2016, section 5.1).

    Args:
        strength: Weight of the classifier's L2 penalty.
    """

    flags: ClassVar[tuple[str, ...]] = ()

    def __init__(self, *, strength: float = 1e-3) -> None:
        if strength <= 0:
            raise ValueError(f"strength={strength:g} must be above 0")
        self.strength = strength

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("linear_probe").measure(run, request, reporter, strength=self.strength)


class PatchDistance(RunMetric):
    """Distance of image patches at several scales, which needs no pretrained network (Karras 2018)."""

    samples = 1_000

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("patches").measure(run, request, self.samples)


class Separability(RunMetric):
    """Linear separability of the data's attributes in latent space (Karras et al. 2019)."""

    flags = ("--samples", "--space", "--classifier")

    def measure(self, run: Any, request: Any, reporter: Any) -> Any:
        return _module("separability").measure(run, request, reporter)


def _with_weights(extractor: str, weights: str) -> str:
    return f"{extractor},weights={weights}" if weights else extractor


def _module(name: str) -> Any:
    return import_module(f"ganforge.evaluation.metrics.{name}")


METRICS: dict[str, type[FeatureMetric]] = {
    "fid": Fid,
    "fid-infinity": FidInfinity,
    "kid": Kid,
    "is": InceptionScore,
    "prc": Prc,
    "fd-dinov2": FdDinoV2,
    "cmmd": Cmmd,
}
"""Metrics of features alone."""


@hookimpl
def ganforge_metrics() -> dict[str, type[Metric]]:
    return {
        **METRICS,
        "memorization": Memorization,
        "authenticity": Authenticity,
        "ppl": PathLength,
        "modes": Modes,
        "conditional-accuracy": ConditionalAccuracy,
        "discriminator-accuracy": DiscriminatorAccuracy,
        "linear-probe": LinearProbe,
        "separability": Separability,
        "patch-distance": PatchDistance,
    }
