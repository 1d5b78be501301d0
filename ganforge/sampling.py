"""Sampling: latents from seeds, labels, truncation, batches of generated examples."""

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
    """A tensor, or an object that loads slices of one."""

    def __getitem__(self, part: slice, /) -> Tensor: ...


Precision = Literal["float32", "bfloat16"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def read_precision(name: str) -> Precision:
    """Validate the name of a precision."""
    if name in PRECISIONS:
        return name
    raise OptionError(f"unknown precision '{name}'", nearest(name, PRECISIONS))


def draw_latents(count: int, z_dim: int, seed: int) -> Tensor:
    """Draw latents ``[count, z_dim]`` from N(0, 1), float32 on the CPU.

    Latent i depends only on ``seed + i``, in any batch.
    """
    latents = torch.empty(count, z_dim)
    source = torch.Generator()
    for index in range(count):
        source.manual_seed(seed + index)
        torch.randn(z_dim, generator=source, out=latents[index])
    return latents


def cycle_labels(count: int, num_classes: int) -> Tensor | None:
    """Return labels 0, 1, 2 ... repeated, int64 ``[count]``; None without classes."""
    return torch.arange(count) % num_classes if num_classes else None


def default_labels(count: int, data: DataSpec) -> Tensor | None:
    """Return labels for samples without a choice: all classes in turn, int64 ``[count]``; or None.

    Condition vectors ``[count, K]`` are those of the examples in the specification in turn, or the means.
    """
    if not data.numbers:
        return cycle_labels(count, data.num_classes)
    vectors = torch.tensor(list(zip(*(each.examples or (each.mean,) for each in data.numbers), strict=False)))
    return vectors[torch.arange(count) % len(vectors)]


def stand_in_labels(count: int, data: DataSpec) -> Tensor | None:
    """Return labels to try a network as `default_labels`.

    For paired data they are noise in place of source images, float32 ``[count, *source_shape]`` in [-1, 1].
    """
    if data.source_shape:
        noise = draw_latents(count, math.prod(data.source_shape), seed=0)
        return noise.view(count, *data.source_shape).clamp(-1, 1)
    return default_labels(count, data)


def refuse_sources(data: DataSpec, what: str) -> None:
    """Raise an `OptionError` for a generator with source images, where `what` requires latents only."""
    if data.source_shape:
        raise OptionError(
            f"this generator requires source images, which {what} does not support",
            "use ganforge sample --source FOLDER, or export it with --torchscript or --onnx",
        )


def refuse_vectors(data: DataSpec, what: str) -> None:
    """Raise an `OptionError` for a generator with condition vectors, where `what` requires classes or no labels."""
    if data.numbers:
        raise OptionError(
            f"this generator takes condition vectors, which {what} does not support",
            "use ganforge sample --condition",
        )


def can_truncate(generator: Generator) -> bool:
    """Return whether the generator's ``forward`` takes ``truncation``."""
    return "truncation" in inspect.signature(generator.forward).parameters


def truncation_options(generator: Generator, truncation: float) -> dict[str, float]:
    """Return the arguments of ``forward`` for a truncation; none for 1."""
    if truncation == 1.0:
        return {}
    if not can_truncate(generator):
        raise OptionError(f"{type(generator).__name__} cannot be truncated", "omit the truncation")
    return {"truncation": truncation}


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode in the block, and restore the mode of each module."""
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
    """Generate examples in batches of `batch` on the generator's device; other arguments as `generate`.

    A precision of ``bfloat16`` is faster on some processors, with errors of about one of 256 levels.
    """
    options = truncation_options(generator, truncation)
    parameter = next(generator.parameters())
    device = parameter.device
    with evaluation_mode(generator):
        for start in range(0, count, batch):
            number = min(batch, count - start)
            z = draw_latents(number, generator.z_dim, seed + start).to(parameter)
            classes = None if labels is None else labels[start : start + number].to(device)
            if classes is not None and classes.is_floating_point():
                classes = classes.to(parameter.dtype)
            reduced = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
            with torch.no_grad(), reduced:
                examples = run_with_halving(
                    partial(generator, **options), z, classes, join=lambda *halves: torch.cat(halves)
                )
            yield examples.float() if precision == "bfloat16" else examples


def generate(
    generator: Generator, count: int, *, seed: int = 0, labels: Sliceable | None = None, truncation: float = 1.0
) -> Tensor:
    """Generate examples in evaluation mode, without gradients.

    Args:
        generator: The network; its mode is restored.
        count: Number of examples.
        seed: Seed of the first example; incremented per example.
        labels: Classes ``[count]`` int64; condition vectors ``[count, K]``; source images ``[count, C, H, W]`` in
            [-1, 1]; or None.
        truncation: 1 for no truncation, less for less variety.

    Returns:
        Images ``[count, C, H, W]`` in [-1, 1] on the CPU, or vectors ``[count, D]``, in the generator's dtype.

    Raises:
        OptionError: The generator does not support truncation, or it is a run.
    """
    if not isinstance(generator, nn.Module):
        raise OptionError(f"a {type(generator).__name__} is no generator", "ganforge.load returns that of a run")
    batches = generate_batches(generator, count, seed=seed, labels=labels, truncation=truncation)
    return torch.cat([examples.cpu() for examples in batches])
