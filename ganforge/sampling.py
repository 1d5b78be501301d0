"""From seeds to images: latents, labels, truncation, and batches of what a generator makes of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError, nearest
from ganforge.contract.networks import Generator
from ganforge.core.out_of_memory import run_with_halving


class Sliceable(Protocol):
    """What gives a tensor for each stretch of examples: a tensor, or what reads one when it is asked for."""

    def __getitem__(self, part: slice, /) -> Tensor:
        """Of the examples from ``part.start`` to before ``part.stop``."""


Precision = Literal["float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def read_precision(name: str) -> Precision:
    """A precision by its name.

    Raises:
        OptionError: There is none of that name.
    """
    for precision in PRECISIONS:
        if name == precision:
            return precision
    raise OptionError(f"there is no precision '{name}'", nearest(name, PRECISIONS))


def draw_latents(count: int, z_dim: int, seed: int) -> Tensor:
    """Latents ``[count, z_dim]`` from N(0, 1), float32 on the CPU.

    Latent i depends on ``seed + i`` alone, so that an image can be made again by its own seed, in any batch.
    """
    latents = torch.empty(count, z_dim)
    source = torch.Generator()
    for index in range(count):
        source.manual_seed(seed + index)
        torch.randn(z_dim, generator=source, out=latents[index])
    return latents


def cycle_labels(count: int, num_classes: int) -> Tensor | None:
    """Labels 0, 1, 2 ... in turn, int64 ``[count]``; None where there are no classes."""
    return torch.arange(count) % num_classes if num_classes else None


def stand_in_labels(count: int, data: DataSpec) -> Tensor | None:
    """Something to try a network out with: classes 0, 1, 2 ... in turn; or noise in place of images.

    Returns:
        int64 ``[count]``; or float32 ``[count, *source_shape]`` in [-1, 1], where data come in pairs; or None.
    """
    if data.source_shape:
        noise = draw_latents(count, math.prod(data.source_shape), seed=0)
        return noise.view(count, *data.source_shape).clamp(-1, 1)
    return cycle_labels(count, data.num_classes)


def refuse_sources(data: DataSpec, what: str) -> None:
    """Refuse a generator that makes images of images, where all is to come from latents.

    Args:
        data: On which it was trained.
        what: That needs latents alone, in words.

    Raises:
        OptionError: The data come in pairs.
    """
    if data.source_shape:
        raise OptionError(
            f"this generator makes its images of others, and {what} starts from latents alone",
            "ganforge sample --source FOLDER shows what it makes of yours, and --torchscript and --onnx export it",
        )


def can_truncate(generator: Generator) -> bool:
    """Whether the generator's ``forward`` takes ``truncation``."""
    return "truncation" in inspect.signature(generator.forward).parameters


def truncation_options(generator: Generator, truncation: float) -> dict[str, float]:
    """The arguments of the generator's ``forward`` that ask for a truncation; none for 1.

    Raises:
        OptionError: A truncation for a generator that has none.
    """
    if truncation == 1.0:
        return {}
    if not can_truncate(generator):
        raise OptionError(f"{type(generator).__name__} cannot be truncated", "leave --truncation out")
    return {"truncation": truncation}


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode while the block runs; then each of its modules gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        network.train(modes[0][1])
        for module, training in modes:
            module.training = training


def generate_batches(
    generator: Generator,
    count: int,
    *,
    seed: int = 0,
    labels: Sliceable | None = None,
    truncation: float = 1.0,
    batch: int = 64,
    precision: Precision = "float32",
) -> Iterator[Tensor]:
    """Generate examples a batch at a time, in evaluation mode and without gradients.

    Args:
        generator: The network; its mode is put back afterwards.
        count: Number of examples.
        seed: Example i is that of seed ``seed + i``.
        labels: Classes ``[count]`` int64; or, of data that come in pairs, images ``[count, C, H, W]`` in [-1, 1], of
            which the examples are made; or None.
        truncation: 1 leaves latents as they are, less brings them nearer to their mean.
        batch: Examples at once.
        precision: Numbers in which the generator runs; ``bfloat16`` is quicker where a processor has it, and off by
            about one of 256 shades.

    Yields:
        Images ``[n, C, H, W]`` float32 in [-1, 1], or vectors ``[n, D]``, on the generator's device.

    Raises:
        OptionError: A truncation for a generator that has none.
    """
    options = truncation_options(generator, truncation)
    device = next(generator.parameters()).device
    with evaluating(generator):
        for start in range(0, count, batch):
            number = min(batch, count - start)
            z = draw_latents(number, generator.z_dim, seed + start).to(device)
            classes = None if labels is None else labels[start : start + number].to(device)
            reduced = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
            with torch.no_grad(), reduced:
                examples = run_with_halving(partial(generator, **options), z, classes, join=_behind)
            yield examples.float() if precision == "bfloat16" else examples


def _behind(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat((first, second))


def generate(
    generator: Generator, count: int, *, seed: int = 0, labels: Sliceable | None = None, truncation: float = 1.0
) -> Tensor:
    """Generate examples ``[count, ...]`` on the CPU; see `generate_batches` for the arguments."""
    batches = generate_batches(generator, count, seed=seed, labels=labels, truncation=truncation)
    return torch.cat([examples.cpu() for examples in batches])
