"""Perceptual path length: rate of change of images along paths in latent space."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.metric import Request
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import backend_of, fork_random_state
from ganforge.core.interpolation import lerp, slerp
from ganforge.evaluation.features.extraction import full_float32
from ganforge.evaluation.metrics.distances import open_distance
from ganforge.evaluation.metrics.spaces import chosen_spaces
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.statistics import Interval, student_quantile
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.sampling import draw_latents, truncation_options

PATH_SAMPLES = 1_000
"""Default number of paths; the paper uses 100,000."""

PROTOCOL = (
    "Karras et al. 2019, section 4.1: the mean of d(G(p(t)), G(p(t + epsilon))) / epsilon^2 with epsilon = 1e-4 over "
    "ways p between two latents, t uniform in [0, 1] (full) or 0 (end); in z along the sphere, both latents brought to "
    "length sqrt(z_dim), in w straight; fixed noise, both ends with one label from the data; no crop; the lowest and "
    "the highest 1 % are left out, as the authors' code does"
)

EPSILON = 1e-4

MIN_PATHS = 100
"""Minimum number of paths for an interval: the mean of fewer depends on a few long ones."""

_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class PathLength:
    """Path length in ``z`` or ``w``: mean over whole paths (lower is smoother) and at their starts, with standard
    errors.
    """

    space: str
    full: float
    full_error: float
    end: float
    end_error: float


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Measure path lengths in the latent spaces of a run's generator.

    Path i leads from the latent of seed ``seed + i`` to that of ``seed + count + i``. Copies of generator and distance
    compute in float64, or in float32 if the generator or the device does not support float64.
    """
    if not run.data.spec.is_image:
        raise OptionError(f"{run.data.name} holds vectors, not images", "path length compares images")
    seed, truncation = request.seed, request.truncation
    spaces = chosen_spaces(run.generator, run.data.spec, request.space)
    truncation_options(run.generator, truncation)  # fail before a classifier is trained
    count = request.count or PATH_SAMPLES
    distance = open_distance(run, request, reporter)
    generator, network = _in_double(run, distance.network)
    dtype = next(generator.parameters()).dtype
    device = run.device
    starts, ends = draw_latents(2 * count, generator.z_dim, seed).double().chunk(2)
    labels = run.draw_labels(count, seed)
    positions = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    kinds = {"full": positions, "end": torch.zeros_like(positions)}
    lengths = {(name, kind): torch.empty(count, dtype=torch.float64) for name in spaces for kind in kinds}
    with (
        reporter.progress("paths") as show,
        torch.no_grad(),
        torch.autocast(device.type, enabled=False),
        full_float32(),
        fork_random_state(device),
    ):
        for chosen in torch.split(torch.arange(count), _BATCH):
            classes = None if labels is None else labels[chosen].to(device)
            z = [each[chosen] for each in (starts, ends)]
            for name in spaces:
                path, generate = _in_space(generator, name, z, classes, truncation)
                for kind, t in kinds.items():
                    lengths[name, kind][chosen] = path_lengths(generate, network, path, t[chosen])
            show(int(chosen[-1]) + 1, count)
    if not all(bool(each.isfinite().all()) for each in lengths.values()):
        raise CheckpointError("path lengths are not finite", "the weights of the generator or the distance are damaged")
    found = []
    for name in spaces:
        (full, full_error), (end, end_error) = (mean_without_outliers(lengths[name, kind]) for kind in kinds)
        found.append(PathLength(space=name, full=full, full_error=full_error, end=end, end_error=end_error))
    precision = str(dtype).removeprefix("torch.")
    parameters = {"distance": distance.name, "weights": distance.weights, "computed_in": precision}
    return RunResult(
        found=tuple(found),
        values=[
            Measured(
                name=f"ppl-{each.space}",
                value=each.full,
                interval=path_length_interval(each.full, each.full_error, count),
                better="lower",
                parameters=parameters,
                details=asdict(each),
            )
            for each in found
        ],
        text="\n".join(
            [
                f"path length   {distance.name} / epsilon^2, means over {count} paths",
                *(
                    f"  {each.space}           full {each.full:.5g} ± {each.full_error:.2g}   "
                    f"end {each.end:.5g} ± {each.end_error:.2g}"
                    for each in found
                ),
            ]
        ),
        protocol=run.protocol(PROTOCOL, request, count, distance.classifier),
        seed=seed,
    )


def path_length_interval(mean: float, error: float, count: int) -> Interval | None:
    """Return Student's 95 % interval of a mean of `count` paths with a standard error; None below `MIN_PATHS`."""
    if count < MIN_PATHS:
        return None
    reach = student_quantile(0.95, count - 1) * error
    return Interval(value=mean, low=mean - reach, high=mean + reach, level=0.95).within(0)


def path_lengths(
    generate: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    path: Callable[[Tensor], Tensor],
    positions: Tensor,
    epsilon: float = EPSILON,
) -> Tensor:
    r"""Return squared speeds of images along paths in latent space (Karras et al. 2019, arXiv:1812.04948, section 4.1).

    .. math:: \frac{1}{\epsilon^2} d\bigl(G(p(t)), G(p(t + \epsilon))\bigr)

    For small epsilon and a squared metric d, the mean tends to the mean of ``|J p'(t)|^2`` with the Jacobian J of
    features by latents.

    Args:
        generate: Function from latents ``[N, ...]`` to images ``[N, ...]``; both calls start from torch's seed 0.
        distance: Function from two batches of images to squared distances ``[N]``.
        path: Function from positions ``[N]`` to latents ``[N, ...]``.
        positions: t ``[N]`` in float64; float32 would lose the step.
        epsilon: Step.

    Returns:
        float64 ``[N]``.
    """
    images = []
    for latents in (path(positions), path(positions + epsilon)):
        torch.manual_seed(0)
        images.append(generate(latents))
    return distance(*images).cpu().double() / epsilon**2


def mean_without_outliers(lengths: Tensor) -> tuple[float, float]:
    """Return the trimmed mean of lengths ``[N]`` and its standard error.

    Lengths below the 1 % quantile (rounded down) or above the 99 % quantile (rounded up) are left out, as in the code
    of the paper's authors. Fewer than 100 lengths are all kept. The standard error uses the Winsorized deviation (Tukey
    and McLaughlin 1963).
    """
    low, high = lengths.quantile(0.01, interpolation="lower"), lengths.quantile(0.99, interpolation="higher")
    kept = lengths[(low <= lengths) & (lengths <= high)]
    deviation = float(lengths.clamp(low, high).std()) if len(lengths) > 1 else math.nan
    return float(kept.mean()), deviation * math.sqrt(len(lengths)) / len(kept)


def z_path(start: Tensor, end: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from positions ``[N]`` to latents on the sphere of radius sqrt(D) between two ``[N, D]``.

    Generators that normalize latents, such as StyleGAN's, see the paper's path; others see latents of a usual length.
    """
    first, last = (each / each.norm(dim=1, keepdim=True) * each.shape[1] ** 0.5 for each in (start, end))
    return lambda positions: slerp(first, last, positions[:, None])


def w_path(start: Tensor, end: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a function from positions ``[N]`` to styles on the line between two ``[N, L, w_dim]``."""
    return lambda positions: lerp(start, end, positions[:, None, None])


def _in_space(
    generator: Generator, space: str, z: list[Tensor], labels: Tensor | None, truncation: float
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Return the path between two latents ``[N, z_dim]`` in a space, float64 on the CPU, and the function to images."""
    like = next(generator.parameters())
    if space == "w":
        assert isinstance(generator, StyleGenerator)
        styles = generator
        start, end = (styles.mapping(each.to(like), labels, truncation).cpu().double() for each in z)
        return w_path(start, end), lambda w: styles.synthesis(w.to(like))
    options = truncation_options(generator, truncation)
    return z_path(*z), lambda latents: generator(latents.to(like), labels, **options)


@torch.no_grad()
def _in_double(run: TrainedRun, distance: nn.Module) -> tuple[Generator, nn.Module]:
    """Return copies of generator and distance in float64; in float32 if generator or device do not support float64."""
    generator, distance = copy.deepcopy(run.generator).eval(), copy.deepcopy(distance).eval()
    if not backend_of(run.device).float64:
        return generator, distance
    labels = run.draw_labels(1, 0)
    z = torch.zeros(1, generator.z_dim, dtype=torch.float64, device=run.device)
    try:
        image = generator.double()(z, None if labels is None else labels.to(run.device))
    except RuntimeError:  # the generator creates float32 tensors
        return generator.float(), distance
    return (generator, distance.double()) if image.dtype == torch.float64 else (generator.float(), distance)
