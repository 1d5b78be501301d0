"""Path length: how fast images change along a way through latent space."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.networks import Generator
from ganforge.evaluation.features.extraction import full_float32
from ganforge.evaluation.metrics.distances import open_distance
from ganforge.evaluation.metrics.paths import mean_without_outliers, path_lengths, w_way, z_way
from ganforge.evaluation.metrics.spaces import chosen_spaces
from ganforge.evaluation.results.narration import Progress, Say, no_progress
from ganforge.evaluation.results.result import Measured, describe_device
from ganforge.evaluation.statistics import Interval, student_quantile
from ganforge.evaluation.subjects.runs import RunProvenance, TrainedRun
from ganforge.sampling import draw_latents, truncation_options

PATH_SAMPLES = 1_000
"""Ways, unless the user says otherwise; the paper takes 100,000."""

PROTOCOL = (
    "Karras et al. 2019, section 4.1: the mean of d(G(p(t)), G(p(t + epsilon))) / epsilon^2 with epsilon = 1e-4 over "
    "ways p between two latents, t uniform in [0, 1] (full) or 0 (end); in z along the sphere, both latents brought to "
    "length sqrt(z_dim), in w straight; fixed noise, both ends with one label from the data; no crop; the lowest and "
    "the highest 1 % are left out, as the authors' code does"
)

LEAST_WAYS = 100
"""Ways below which no interval is given."""

_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class PathLength:
    """The path length in one space.

    Attributes:
        space: ``z`` or ``w``.
        full: Mean over whole ways; lower is smoother.
        full_error: Its standard error.
        end: Mean at the beginnings of ways.
        end_error: Its standard error.
    """

    space: str
    full: float
    full_error: float
    end: float
    end_error: float


@dataclass(frozen=True, kw_only=True)
class PathLengthResult:
    """Path lengths and how they came about.

    Attributes:
        metric: ``path-length``.
        distance: The distance of images, in words.
        found: The numbers, one for each space.
        weights: SHA-256 of each file of the distance's weights, by name; empty for a classifier.
        dtype: In which everything was computed.
        device: Where.
        provenance: What the numbers must be quoted with.
    """

    metric: str = "path-length"
    distance: str
    found: tuple[PathLength, ...]
    weights: dict[str, str]
    dtype: str
    device: str
    provenance: RunProvenance

    def quote(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """See `RunProvenance.quote`."""
        return self.provenance.quote()

    def measured(self) -> list[Measured]:
        """The numbers one by one."""
        parameters = {"distance": self.distance, "weights": self.weights, "computed_in": self.dtype}
        return [
            Measured(
                name=f"ppl-{each.space}",
                value=each.full,
                interval=path_length_interval(each.full, each.full_error, self.provenance.num_samples),
                better="lower",
                parameters=parameters,
                details=asdict(each),
            )
            for each in self.found
        ]

    def describe(self) -> str:
        """The numbers in words, a line each."""
        lines = [f"path length   {self.distance} / epsilon^2, means over {self.provenance.num_samples} ways"]
        for each in self.found:
            full, end = (f"{mean:.5g} ± {error:.2g}" for mean, error in _pairs(each))
            lines.append(f"  {each.space}           full {full}   end {end}")
        return "\n".join(lines)


def path_length_interval(mean: float, error: float, count: int) -> Interval | None:
    """Student's interval of 95 % of a mean length; None below 100 ways, of which a few long ones decide the mean.

    Args:
        mean: Over ways.
        error: Its standard error.
        count: Number of ways, 2 or more.
    """
    if count < LEAST_WAYS:
        return None
    reach = student_quantile(0.95, count - 1) * error
    return Interval(value=mean, low=mean - reach, high=mean + reach, level=0.95).within(0)


def path_length_of_run(
    run: TrainedRun,
    *,
    count: int | None,
    seed: int,
    truncation: float,
    space: str | None = None,
    distance: str = "classifier",
    classifier: Path | None = None,
    inception_weights: Path | None = None,
    lpips_weights: Path | None = None,
    progress: Progress = no_progress,
    say: Say = lambda text: None,
) -> PathLengthResult:
    """Measure how fast the images of a run's generator change along ways through its latent spaces.

    Way i leads from the latent of seed ``seed + i`` to that of ``seed + count + i``. Everything is computed in float64
    by copies of generator and distance, or in float32 if the generator cannot be brought to float64.

    Args:
        run: The generator and its data.
        count: Ways; None for 1,000.
        seed: Of the first latent.
        truncation: 1 for none.
        space: ``z`` or ``w``; None for all that the generator has.
        distance: One of `ganforge.evaluation.metrics.distances.DISTANCES`.
        classifier: As `open_distance`, and so are the following two.
        inception_weights: A file.
        lpips_weights: A folder.
        progress: Shows how far it is.
        say: Told where a classifier comes from.

    Raises:
        OptionError: The data are vectors, there is no such space or distance, or the generator cannot be truncated.
        CheckpointError: Weights are absent or damaged, or what they give is not finite.
        DataError: The data are too few to train a classifier on.
    """
    if not run.data.spec.is_image:
        raise OptionError(f"{run.data.name} holds vectors, not images", "path length compares images")
    spaces = chosen_spaces(run.generator, run.data.spec, space)
    truncation_options(run.generator, truncation)  # refused before a classifier is trained
    count = count or PATH_SAMPLES
    judge = open_distance(
        distance,
        run,
        classifier=classifier,
        inception_weights=inception_weights,
        lpips_weights=lpips_weights,
        progress=progress,
        say=say,
    )
    generator, network = _in_double(run, judge.network)
    dtype = next(generator.parameters()).dtype
    device = run.device
    starts, ends = draw_latents(2 * count, generator.z_dim, seed).double().chunk(2)
    labels = run.draw_labels(count, seed)
    positions = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    kinds = {"full": positions, "end": torch.zeros_like(positions)}
    lengths = {(name, kind): torch.empty(count, dtype=torch.float64) for name in spaces for kind in kinds}
    with progress("ways") as show, torch.no_grad(), torch.autocast(device.type, enabled=False), full_float32():
        for chosen in torch.split(torch.arange(count), _BATCH):
            classes = None if labels is None else labels[chosen].to(device)
            z = [each[chosen].to(device) for each in (starts, ends)]
            for name in spaces:
                way, generate = _in_space(generator, name, z, classes, truncation, dtype)
                for kind, t in kinds.items():
                    lengths[name, kind][chosen] = path_lengths(generate, network, way, t[chosen].to(device)).cpu()
            show(int(chosen[-1]) + 1, count)
    if not all(bool(each.isfinite().all()) for each in lengths.values()):
        raise CheckpointError("path lengths are not finite", "the weights of the generator or the distance are damaged")
    found = []
    for name in spaces:
        (full, full_error), (end, end_error) = (mean_without_outliers(lengths[name, kind]) for kind in kinds)
        found.append(PathLength(space=name, full=full, full_error=full_error, end=end, end_error=end_error))
    return PathLengthResult(
        distance=judge.name,
        found=tuple(found),
        weights=judge.weights,
        dtype=str(dtype).removeprefix("torch."),
        device=describe_device(device),
        provenance=run.provenance(PROTOCOL, count=count, seed=seed, truncation=truncation, classifier=judge.classifier),
    )


def _in_space(
    generator: Generator,
    space: str,
    z: list[Tensor],
    labels: Tensor | None,
    truncation: float,
    dtype: torch.dtype,
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """The way between two latents ``[N, z_dim]`` in a space, and what makes images of latents there."""
    if space == "w":
        assert isinstance(generator, StyleGenerator)
        styles = generator
        start, end = (styles.mapping(each.to(dtype), labels, truncation).double() for each in z)
        return w_way(start, end), lambda w: styles.synthesis(w.to(dtype))
    options = truncation_options(generator, truncation)
    return z_way(*z), lambda latents: generator(latents.to(dtype), labels, **options)


@torch.no_grad()
def _in_double(run: TrainedRun, distance: nn.Module) -> tuple[Generator, nn.Module]:
    """Copies of the generator and of a distance in float64; in float32 if the generator cannot compute in float64."""
    generator, distance = copy.deepcopy(run.generator).eval(), copy.deepcopy(distance).eval()
    labels = run.draw_labels(1, 0)
    z = torch.zeros(1, generator.z_dim, dtype=torch.float64, device=run.device)
    try:
        image = generator.double()(z, None if labels is None else labels.to(run.device))
    except RuntimeError:  # it makes tensors of its own in float32
        return generator.float(), distance
    return (generator, distance.double()) if image.dtype == torch.float64 else (generator.float(), distance)


def _pairs(found: PathLength) -> tuple[tuple[float, float], tuple[float, float]]:
    return (found.full, found.full_error), (found.end, found.end_error)
