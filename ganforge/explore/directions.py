"""Unsupervised directions: closed-form factorization of weights, and principal components of w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.errors import OptionError
from ganforge.explore.spaces import LatentSpace, Source, WSpace


@dataclass(frozen=True)
class Directions:
    """Directions in a latent space; without attributes orthogonal, the most effective first.

    Attributes:
        vectors: Unit vectors ``[K, D]``; in w they apply to all layers.
        values: Eigenvalues ``[K]``, or distances of means.
        deviations: Standard deviation of latents along each direction, ``[K]``: the unit of strengths.
    """

    vectors: Tensor
    values: Tensor
    deviations: Tensor


def factorise(space: LatentSpace, count: int = 5, *, seed: int = 0) -> Directions:
    """Closed-form factorization (Shen and Zhou 2021, arXiv:2007.06600).

    Returns the `count` unit vectors n that maximize ``|A n|``: eigenvectors of ``A^T A``, where A stacks the weights
    of all affine layers that take the latent. In w these are the layers that make styles. Deviations are measured on
    latents from `seed` on.
    """
    weights = [layer.cpu().double() for layer in first_weights(space)]
    matrix = torch.cat(weights)
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return _directions(space, vectors, values, count, seed)


def principal_components(space: WSpace, count: int = 5, *, seed: int = 0, samples: int = 2000) -> Directions:
    """Principal components of `samples` styles (Harkonen 2020, arXiv:2004.02546); z is isotropic and has none."""
    w = _vectors(space, seed, samples)
    centred = w - w.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / (samples - 1))
    return _directions(space, vectors, values, count, seed)


def move(space: LatentSpace, source: Source, directions: Directions, strengths: Sequence[float]) -> Tensor:
    """Move the latent of a seed, or a latent ``[...]``, along K directions, by strengths in standard deviations.

    Returns:
        Images uint8 ``[K, len(strengths), C, H, W]``.
    """
    latent = space.latents([source])
    steps = torch.tensor(strengths, dtype=torch.float64)[None, :, None] * directions.deviations[:, None, None]
    moves = (steps * directions.vectors[:, None]).flatten(0, 1).to(latent)  # [K * S, D]
    moved = latent + moves.view(-1, *[1] * (latent.dim() - 2), latent.shape[-1])
    images = space.render(moved)
    return images.view(len(directions.vectors), len(strengths), *images.shape[1:])


def first_weights(space: LatentSpace) -> list[Tensor]:
    """Return the weights ``[out, D]`` of all affine layers that take the latent, in order of their calls.

    Such a module has the latent as its first argument, alone or followed by e.g. a label, and its output is affine in
    it. So the result does not depend on names or scales of parameters.
    """
    latent = space.from_seeds([0])
    calls: list[tuple[nn.Module, Tensor]] = []

    def record(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor) and _begins_with(arguments[0], latent):
            calls.append((module, arguments[0].detach()))

    hooks = [module.register_forward_pre_hook(record) for module in space.generator.modules()]
    try:
        with torch.no_grad():
            space.decode(latent)
    finally:
        for hook in hooks:
            hook.remove()
    weights: list[Tensor] = []
    done: set[nn.Module] = set()
    for module, given in calls:
        # A module precedes its children, which are skipped if it is affine as a whole. A shared module counts once.
        if module not in done and (weight := _linear_part(module, given, latent.shape[-1])) is not None:
            weights.append(weight)
            done.update(module.modules())
    if not weights:
        raise OptionError(
            f"{type(space.generator).__name__} has no affine layer that takes {space.name}",
            "use w of a style generator",
        )
    return weights


def _begins_with(given: Tensor, latent: Tensor) -> bool:
    """Return whether a layer's input ``[1, ...]`` starts with a latent ``[1, D]``, or with one of ``[1, L, D]``."""
    flat, size = given.flatten(1) if given.dim() > 1 else given[None], latent.shape[-1]
    if len(flat) != 1 or flat.shape[1] < size or (latent.dim() == 3 and flat.shape[1] != size):
        return False
    return any(torch.equal(flat[0, :size], each) for each in latent.reshape(-1, size))


@torch.no_grad()
def _linear_part(module: nn.Module, given: Tensor, size: int) -> Tensor | None:
    """Return the matrix ``[out, size]`` of a module in the first values of its input; None if it is not affine."""

    def output(first: Tensor) -> Tensor:
        inputs = given.reshape(1, -1).repeat(len(first), 1)
        inputs[:, :size] = first
        result = module(inputs.view(len(first), *given.shape[1:]))
        if not isinstance(result, Tensor):
            raise TypeError("expected a tensor")
        return result.flatten(1).double()

    zero = torch.zeros(1, size).to(given)
    probe = torch.stack([torch.sin(torch.arange(size) + 1.0), torch.cos(3.0 * torch.arange(size))]).to(given)
    try:
        base = output(zero)
        one, two, both = (output(each[None])[0] - base[0] for each in (probe[0], probe[1], 3 * probe[0] - probe[1]))
    except (TypeError, ValueError, RuntimeError):  # more than one argument, or no batch dimension
        return None
    scale = max(float(one.abs().max()), float(two.abs().max()))
    if scale == 0 or float((both - (3 * one - two)).abs().max()) > 1e-4 * scale:
        return None
    return (output(torch.eye(size).to(given)) - base).T


def _vectors(space: LatentSpace, seed: int, samples: int) -> Tensor:
    """Return latents as float64 ``[samples, D]``; in w, the first layer's styles, since all are equal."""
    latents = space.from_seeds(range(seed, seed + samples)).cpu().double()
    return latents[:, 0] if latents.dim() == 3 else latents


def _directions(space: LatentSpace, vectors: Tensor, values: Tensor, count: int, seed: int) -> Directions:
    """Return the directions of the largest eigenvalues, from eigenvectors ``[D, D]`` in ascending order."""
    if not 1 <= count <= len(values):
        raise OptionError(f"invalid number of directions: {count}", f"from 1 to {len(values)}")
    chosen = vectors.T.flip(0)[:count].contiguous()
    # An eigenvector's sign is arbitrary; its largest component is made positive.
    largest = chosen.gather(1, chosen.abs().argmax(1, keepdim=True))
    chosen = chosen * largest.sign()
    return Directions(chosen, values.flip(0)[:count].contiguous(), measure_deviations(space, chosen, seed))


def measure_deviations(space: LatentSpace, vectors: Tensor, seed: int) -> Tensor:
    """Return the standard deviation ``[K]`` of 1,000 latents along unit vectors ``[K, D]``."""
    return (_vectors(space, seed, 1000) @ vectors.T).std(0)
