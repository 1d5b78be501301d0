"""Distances of two generated images, without the rounding to pixels that would hide a small one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ganforge.contract.errors import CheckpointError, OptionError, nearest
from ganforge.evaluation.classes import open_for_classes
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.extractors.inception import InceptionExtractor, InceptionFeatures
from ganforge.evaluation.metrics.lpips import SMALLEST, load_lpips
from ganforge.evaluation.results.narration import Progress, Say
from ganforge.evaluation.subjects.runs import TrainedRun

DISTANCES = ("classifier", "lpips", "inception")
"""The names that a user gives."""


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageDistance:
    """A distance of images.

    Attributes:
        name: What it is, in words that a value is quoted with.
        network: From two batches of images ``[N, C, H, W]`` in [-1, 1] to their distances ``[N]``.
        weights: SHA-256 of each file of its weights, by name; empty for a classifier.
        classifier: Whose features it compares; None if it compares others.
    """

    name: str
    network: nn.Module
    weights: dict[str, str]
    classifier: Classifier | None = None


class FeatureDistance(nn.Module):
    """The squared Euclidean distance of features.

    Args:
        extract: From images ``[N, C, H, W]`` in [-1, 1] to features ``[N, D]``.
    """

    def __init__(self, extract: nn.Module) -> None:
        super().__init__()
        self.extract = extract

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances ``[N]`` of images from others of the same shape."""
        gap: Tensor = self.extract(first) - self.extract(second)
        return gap.square().sum(dim=1)


class OfColour(nn.Module):
    """A distance of colour images as one of grey images too: their channel is repeated.

    Args:
        distance: Takes images of 3 channels.
    """

    def __init__(self, distance: nn.Module) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Distances ``[N]`` of images ``[N, C, H, W]`` with C of 1 or 3 from others of the same shape."""
        distances: Tensor = self.distance(*(each.expand(-1, 3, -1, -1) for each in (first, second)))
        return distances


def open_distance(
    name: str,
    run: TrainedRun,
    *,
    classifier: Path | None,
    inception_weights: Path | None,
    lpips_weights: Path | None,
    progress: Progress,
    say: Say,
) -> ImageDistance:
    """A distance for the images of a run, on the run's device.

    Args:
        name: One of `DISTANCES`.
        run: Makes images.
        classifier: A file, for ``classifier`` alone; None to have one trained and kept in the cache.
        inception_weights: A file, for ``inception`` alone; None to look for it.
        lpips_weights: A folder, for ``lpips`` alone; None to look for its files.
        progress: Shows how far the training of a classifier is.
        say: Told where the classifier comes from, and what forbids comparing values.

    Raises:
        OptionError: There is no such distance, it cannot be had for such images, or a file is of no use for it.
        CheckpointError: Weights are absent or damaged, or a classifier is for other images.
        DataError: The data are too few to train a classifier on.
    """
    if name not in DISTANCES:
        raise OptionError(f"--distance {name}: there is no such distance", nearest(name, DISTANCES))
    files = {"classifier": classifier, "inception": inception_weights, "lpips": lpips_weights}
    for owner, file in files.items():
        if file is not None and owner != name:
            flag = f"--{owner}" if owner == "classifier" else f"--{owner}-weights"
            raise OptionError(
                f"{flag} {file}: --distance {name} needs none", f"leave it out, or say --distance {owner}"
            )
    spec, data = run.data.spec, run.data.name
    if name == "classifier":
        if spec.num_classes < 2:
            raise OptionError(
                f"{data} has no classes, and --distance classifier compares what a classifier sees",
                "take --distance lpips, or inception",
            )
        judge = open_for_classes(run, classifier, progress, say)
        network = FeatureDistance(judge.feature_network())
        return ImageDistance(
            name=f"squared distance of features of {data}-classifier", network=network, weights={}, classifier=judge
        )
    if spec.shape[0] not in (1, 3):
        raise OptionError(
            f"--distance {name}: images of {data} have {spec.shape[0]} channels", "it needs 1 or 3; take classifier"
        )
    if name == "inception":
        try:
            extractor = InceptionExtractor(spec, weights=str(inception_weights or ""))
        except CheckpointError as error:
            raise CheckpointError(f"--distance inception: {error.message}", error.hint) from error
        for note in extractor.notes:
            say(f"note: {note}")
        return ImageDistance(
            name=f"squared distance of features of {extractor.label}",
            network=OfColour(FeatureDistance(InceptionFeatures(extractor))).to(run.device),
            weights={"inception": extractor.weights_sha256},
        )
    if min(spec.shape[1:]) < SMALLEST:
        raise OptionError(
            f"--distance lpips: images of {data} are {spec.shape[1]}x{spec.shape[2]}",
            f"it needs {SMALLEST} pixels along an edge; take --distance classifier",
        )
    lpips, weights = load_lpips(lpips_weights)
    return ImageDistance(name="torch-fidelity's LPIPS (VGG16)", network=OfColour(lpips).to(run.device), weights=weights)
