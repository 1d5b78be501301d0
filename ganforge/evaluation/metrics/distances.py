"""Image distances of path lengths, on float images: rounding to pixels would hide small distances."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from ganforge.contract.errors import CheckpointError, OptionError, nearest
from ganforge.contract.metric import Request
from ganforge.evaluation.classes import open_for_classes
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.extractors.inception import InceptionExtractor, InceptionFeatures
from ganforge.evaluation.metrics.lpips import MIN_SIZE, load_lpips
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.subjects.runs import TrainedRun

DISTANCES = ("classifier", "lpips", "inception")


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageDistance:
    """Distance of images.

    Its network maps two batches ``[N, C, H, W]`` in [-1, 1] to distances ``[N]``. `weights` are the SHA-256 of its
    files.
    """

    name: str
    network: nn.Module
    weights: dict[str, str]
    classifier: Classifier | None = None


class FeatureDistance(nn.Module):
    """Squared Euclidean distance ``[N]`` of the features ``[N, D]`` of images ``[N, C, H, W]`` in [-1, 1]."""

    def __init__(self, extract: nn.Module) -> None:
        super().__init__()
        self.extract = extract

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        gap: Tensor = self.extract(first) - self.extract(second)
        return gap.square().sum(dim=1)


class RepeatedChannels(nn.Module):
    """Distance of images with 3 channels, extended to 1 channel by repetition."""

    def __init__(self, distance: nn.Module) -> None:
        super().__init__()
        self.distance = distance

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        distances: Tensor = self.distance(*(each.expand(-1, 3, -1, -1) for each in (first, second)))
        return distances


def open_distance(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> ImageDistance:
    """Return the requested distance for the images of a run, on the run's device."""
    name = request.distance or "classifier"
    if name not in DISTANCES:
        raise OptionError(f"--distance {name}: not found", nearest(name, DISTANCES))
    files = {"classifier": request.classifier, "inception": request.inception_weights, "lpips": request.lpips_weights}
    for owner, file in files.items():
        if file is not None and owner != name:
            flag = f"--{owner}" if owner == "classifier" else f"--{owner}-weights"
            raise OptionError(f"{flag} {file}: unused by --distance {name}", f"leave it out, or use --distance {owner}")
    spec, data = run.data.spec, run.data.name
    if name == "classifier":
        if spec.num_classes < 2:
            raise OptionError(
                f"{data} has no classes, and --distance classifier needs a classifier",
                "use --distance lpips, or inception",
            )
        judge = open_for_classes(run, request.classifier, reporter)
        return ImageDistance(
            name=f"squared distance of features of {data}-classifier",
            network=FeatureDistance(judge.feature_network()),
            weights={},
            classifier=judge,
        )
    if spec.shape[0] not in (1, 3):
        raise OptionError(
            f"--distance {name}: images of {data} have {spec.shape[0]} channels", "it needs 1 or 3; use classifier"
        )
    if name == "inception":
        try:
            extractor = InceptionExtractor(spec, weights=str(request.inception_weights or ""))
        except CheckpointError as error:
            raise CheckpointError(f"--distance inception: {error.message}", error.hint) from error
        for note in extractor.notes:
            reporter.log(f"note: {note}")
        return ImageDistance(
            name=f"squared distance of features of {extractor.label}",
            network=RepeatedChannels(FeatureDistance(InceptionFeatures(extractor))).to(run.device),
            weights={"inception": extractor.weights_sha256},
        )
    lpips, weights = open_lpips(spec.shape, request.lpips_weights, "--distance lpips")
    return ImageDistance(name="torch-fidelity's LPIPS (VGG16)", network=lpips.to(run.device), weights=weights)


def open_lpips(shape: tuple[int, ...], folder: Path | None, flag: str) -> tuple[nn.Module, dict[str, str]]:
    """Return LPIPS for images ``(C, H, W)`` on the CPU, and the SHA-256 of its files by name; see `load_lpips`.

    Raises:
        OptionError: The images are too small or have other than 1 or 3 channels; `flag` is named.
        CheckpointError: A file is missing or damaged.
    """
    if shape[0] not in (1, 3):
        raise OptionError(f"{flag}: images have {shape[0]} channels", "it needs 1 or 3; use classifier")
    if min(shape[1:]) < MIN_SIZE:
        raise OptionError(
            f"{flag}: images are {shape[1]}x{shape[2]}", f"it needs {MIN_SIZE}x{MIN_SIZE} or more; use classifier"
        )
    lpips, weights = load_lpips(folder)
    return RepeatedChannels(lpips), weights
