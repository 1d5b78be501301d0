"""Conditional accuracy of attributes, and error of other numbers, in images of requested condition vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.metric import Request
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import fork_random_state
from ganforge.core.cache import cache_folder
from ganforge.data.conditions import draw_classes
from ganforge.evaluation.classes import CLASS_SAMPLES
from ganforge.evaluation.regressor import cached_regressor
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Measured, RunResult
from ganforge.evaluation.statistics import share_interval
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.sampling import generate, generate_batches

PROTOCOL = (
    "condition vectors are drawn from the data; a network trained apart reads them in the generated images; numbers "
    "that are 0 or 1 in all data are attributes, read as 1 from 0.5 on; accuracy is the share of attributes that are "
    "as requested; error is the mean absolute difference of the other numbers, relative to their standard deviation"
)


@dataclass(frozen=True, kw_only=True)
class AttributeShare:
    """One attribute: shares of images that show it where requested, and elsewhere; share of right images."""

    name: str
    asked: float
    unasked: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class NumberError:
    """One number: mean absolute difference, in its unit and relative to its standard deviation in the data."""

    name: str
    error: float
    relative: float


@dataclass(frozen=True, kw_only=True)
class VectorAccuracy:
    """Agreement of requested vectors with those that were read.

    Attributes:
        accuracy: Share of attributes that are as requested, in [0, 1]; None without attributes.
        all_attributes: Share of images with all attributes right; None without.
        error: Mean relative error of the other numbers; None without.
        attributes: Each attribute.
        numbers: Each other number.
    """

    accuracy: float | None
    all_attributes: float | None
    error: float | None
    attributes: tuple[AttributeShare, ...]
    numbers: tuple[NumberError, ...]


def measure(run: TrainedRun, request: Request, reporter: Reporter = SILENT) -> RunResult:
    """Generate images of vectors of the data, and read the vectors in them."""
    data, count = run.data, request.count or CLASS_SAMPLES
    assert data.labels is not None
    if request.classifier is not None:
        raise OptionError("--classifier: condition vectors are read by a network of their own", "omit --classifier")
    if not _is_conditional(run.generator, data.labels, request.seed):
        raise OptionError(
            "this generator is not conditional: its images do not depend on the condition vector",
            "train a conditional one: --arch cgan, cdcgan, or stylegan2 with --set generator.conditioning=input",
        )
    with reporter.progress("training a regressor") as show:
        regressor, origin = cached_regressor(data, cache_folder() / "classifiers", device=run.device, progress=show)
    reporter.log(origin)
    asked = draw_classes(data.labels, count, request.seed)
    batches = generate_batches(run.generator, count, seed=request.seed, labels=asked, truncation=request.truncation)
    with reporter.progress("images") as show:
        read = regressor.read_batches(batches, count, show)
    names, stds = data.number_names, [each.std for each in data.spec.numbers]
    binary = ((data.labels == 0) | (data.labels == 1)).all(0)
    found = compare_vectors(asked, read, names, stds, binary)
    real = compare_vectors(*regressor.held_out(), names, stds, binary)
    values = []
    if found.accuracy is not None:
        interval = share_interval(found.accuracy, count)
        details = asdict(found)
        values.append(
            Measured(
                name="conditional-accuracy", value=found.accuracy, interval=interval, better="higher", details=details
            )
        )
    if found.error is not None:
        values.append(Measured(name="condition-error", value=found.error, better="lower", details=asdict(found)))
    protocol = {**run.protocol(PROTOCOL, request, count, None), "classifier": regressor.describe()}
    text = "\n".join([*_describe(found, f"{count} generated images"), *_describe(real, "real held-out images")])
    return RunResult(found=found, values=values, text=text, protocol=protocol, seed=request.seed)


def compare_vectors(
    asked: Tensor, read: Tensor, names: Sequence[str], stds: Sequence[float], binary: Tensor
) -> VectorAccuracy:
    """Compare requested with read vectors, ``[N, K]`` each.

    Args:
        asked: Requested vectors.
        read: Vectors that were read.
        names: Names of the numbers.
        stds: Standard deviations of the numbers in the data.
        binary: Whether each number is an attribute, bool ``[K]``.
    """
    attributes, numbers, right = [], [], []
    for index, name in enumerate(names):
        wanted, there = asked[:, index], read[:, index]
        if binary[index]:
            wanted, there = wanted >= 0.5, there >= 0.5
            right.append(wanted == there)
            shares = (float(there[chosen].double().mean()) if chosen.any() else 0.0 for chosen in (wanted, ~wanted))
            of_asked, of_unasked = shares
            accuracy = float(right[-1].double().mean())
            attributes.append(AttributeShare(name=name, asked=of_asked, unasked=of_unasked, accuracy=accuracy))
        else:
            error = float((wanted - there).double().abs().mean())
            numbers.append(NumberError(name=name, error=error, relative=error / stds[index]))
    return VectorAccuracy(
        accuracy=sum(each.accuracy for each in attributes) / len(attributes) if attributes else None,
        all_attributes=float(torch.stack(right).all(0).double().mean()) if right else None,
        error=sum(each.relative for each in numbers) / len(numbers) if numbers else None,
        attributes=tuple(attributes),
        numbers=tuple(numbers),
    )


def _is_conditional(generator: Generator, vectors: Tensor, seed: int) -> bool:
    """Return whether images of the same latents and noise depend on the vector."""
    drawn = []
    for row in (vectors.amin(0), vectors.amax(0)):
        with fork_random_state(next(generator.parameters()).device):
            drawn.append(generate(generator, 4, seed=seed, labels=row.expand(4, -1)))
    return not torch.allclose(drawn[0], drawn[1], rtol=0, atol=1e-5)


def _describe(found: VectorAccuracy, images: str) -> list[str]:
    lines = [f"{images}:"]
    if found.accuracy is not None:
        lines.append(f"  attributes  {found.accuracy:.2%} as requested, {found.all_attributes:.2%} of images in all")
        lines += [f"    {each.name}: {each.asked:.2%} with, {each.unasked:.2%} without" for each in found.attributes]
    if found.error is not None:
        lines.append(f"  numbers     mean error {found.error:.3g} standard deviations")
        lines += [f"    {each.name}: {each.error:.3g}, {each.relative:.3g} deviations" for each in found.numbers]
    return lines
