"""Noise maps of a generator as variables of a projection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.networks import Generator
from ganforge.layers.noise import NoiseInjection

_SMALLEST = 8
"""Minimum edge of the maps that the penalty compares."""


def find_noise(generator: Generator) -> list[nn.Parameter]:
    """Return the fixed noise maps ``[1, 1, H, W]`` of a generator's `NoiseInjection` layers, from the coarsest."""
    return [each.fixed for each in generator.modules() if isinstance(each, NoiseInjection)]


def use_noise(generator: Generator, maps: Sequence[Tensor], name: str = "") -> None:
    """Replace the fixed noise maps of a generator by those of a file; raise `CheckpointError` if shapes differ."""
    own = find_noise(generator)
    if [each.shape for each in own] != [each.shape for each in maps]:
        raise CheckpointError(f"{name}: noise maps of other shapes than this generator's", "project the image again")
    with torch.no_grad():
        for parameter, given in zip(own, maps, strict=True):
            parameter.copy_(given)


@contextmanager
def optimized_noise(generator: Generator) -> Iterator[list[Tensor]]:
    """Yield the noise maps with gradients; restore values and gradients at the end.

    Raises:
        OptionError: The generator has none.
    """
    maps = find_noise(generator)
    if not maps:
        raise OptionError(f"{type(generator).__name__} has no noise maps", "project without --noise")
    before = [each.detach().clone() for each in maps]
    try:
        yield [each.requires_grad_() for each in maps]
    finally:
        for each in maps:
            each.requires_grad_(False)
        use_noise(generator, before)


def noise_penalty(maps: Sequence[Tensor]) -> Tensor:
    """Autocorrelation of noise maps ``[1, 1, H, W]`` (Karras 2020, arXiv:1912.04958, appendix D).

    At each size down to 8, the squared mean of the products of horizontal neighbors and of vertical ones is added.
    Edges wrap. Halved maps are averages of 2 x 2, times 2, so that white noise keeps its variance.

    Returns:
        Scalar; 0 for uncorrelated neighbors.
    """
    penalty = maps[0].new_zeros(())
    for each in maps:
        scaled = each
        while True:
            for axis in (2, 3):
                penalty = penalty + (scaled * scaled.roll(1, axis)).mean().square()
            if min(scaled.shape[2:]) // 2 < _SMALLEST:
                break
            scaled = 2 * avg_pool2d(scaled, 2)
    return penalty


@torch.no_grad()
def normalize_noise(maps: Sequence[Tensor]) -> None:
    """Shift and scale each map, in place, to mean 0 and variance 1."""
    for each in maps:
        each.sub_(each.mean()).div_(each.square().mean().sqrt())
