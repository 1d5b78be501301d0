"""Directions that change much, found without labels: from the weights alone, or from the spread of w."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.errors import OptionError
from ganforge.explore.spaces import LatentSpace, WSpace


@dataclass(frozen=True)
class Directions:
    """Orthogonal directions in a latent space, the one that changes most first.

    Attributes:
        vectors: Of length 1, ``[K, D]``; in w they are added to all layers.
        values: What they are sorted by, ``[K]``: eigenvalues.
        deviations: Standard deviation of latents along each, ``[K]``: the unit of a strength.
    """

    vectors: Tensor
    values: Tensor
    deviations: Tensor


def factorise(space: LatentSpace, count: int = 5, *, seed: int = 0) -> Directions:
    """Closed-form factorisation (Shen and Zhou 2021, arXiv:2007.06600).

    The directions n of length 1 that change the output of the first layer most, ``|A n|``: eigenvectors of ``A^T A``,
    where A holds the weights of all affine layers that are given the latent itself, one below the other. In w these
    are the layers that make styles.

    Args:
        space: Of latents.
        count: Number of directions.
        seed: Of the latents by whose spread strengths are measured.

    Raises:
        OptionError: No such layer is found, or there are fewer directions.
    """
    weights = [layer.cpu().double() for layer in first_weights(space)]
    matrix = torch.cat(weights)
    values, vectors = torch.linalg.eigh(matrix.T @ matrix)
    return _directions(space, vectors, values, count, seed)


def principal_components(space: WSpace, count: int = 5, *, seed: int = 0, samples: int = 2000) -> Directions:
    """Principal components of w (Harkonen 2020, arXiv:2004.02546): directions of its largest spread.

    In z all directions have the same spread, so there are none to find.

    Args:
        space: That of styles.
        count: Number of directions.
        seed: Of the first of the samples.
        samples: Number of styles.

    Raises:
        OptionError: There are fewer directions.
    """
    w = _vectors(space, seed, samples)
    centred = w - w.mean(0)
    values, vectors = torch.linalg.eigh(centred.T @ centred / (samples - 1))
    return _directions(space, vectors, values, count, seed)


def move(space: LatentSpace, seed: int, directions: Directions, strengths: Sequence[float]) -> Tensor:
    """One seed's image, moved along each direction.

    Args:
        space: Of latents.
        seed: Of the image.
        directions: K of them.
        strengths: In standard deviations of latents along the direction.

    Returns:
        uint8 ``[K, len(strengths), C, H, W]``.
    """
    latent = space.from_seeds([seed])
    steps = torch.tensor(strengths, dtype=torch.float64)[None, :, None] * directions.deviations[:, None, None]
    moves = (steps * directions.vectors[:, None]).flatten(0, 1).to(latent)  # [K * S, D]
    moved = latent + moves.view(-1, *[1] * (latent.dim() - 2), latent.shape[-1])
    images = space.render(moved)
    return images.view(len(directions.vectors), len(strengths), *images.shape[1:])


def first_weights(space: LatentSpace) -> list[Tensor]:
    """The weights ``[out, D]`` of all affine layers that are given the latent itself, in the order of their calls.

    A layer is any module whose first argument is the latent, alone or with something behind it, such as a label, and
    whose output is an affine function of it. So nothing depends on how a network names or scales its weights.

    Raises:
        OptionError: There are none.
    """
    latent = space.from_seeds([0])
    calls: list[tuple[nn.Module, Tensor]] = []

    def look(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor) and _begins_with(arguments[0], latent):
            calls.append((module, arguments[0].detach()))

    hooks = [module.register_forward_pre_hook(look) for module in space.generator.modules()]
    try:
        with torch.no_grad():
            space.decode(latent)
    finally:
        for hook in hooks:
            hook.remove()
    weights: list[Tensor] = []
    done: set[nn.Module] = set()
    for module, given in calls:
        # A module comes before those that it consists of: where it is affine as a whole, they are not asked. One that
        # serves several styles counts once.
        if module not in done and (weight := _linear_part(module, given, latent.shape[-1])) is not None:
            weights.append(weight)
            done.update(module.modules())
    if not weights:
        raise OptionError(
            f"{type(space.generator).__name__} has no affine layer that is given {space.name} itself",
            "factorisation takes the weights of such layers; a style generator has them in w",
        )
    return weights


def _begins_with(given: Tensor, latent: Tensor) -> bool:
    """Whether a layer's input ``[1, ...]`` is a latent ``[1, D]``, or one layer's of ``[1, L, D]``, or begins so."""
    flat, size = given.flatten(1) if given.dim() > 1 else given[None], latent.shape[-1]
    if len(flat) != 1 or flat.shape[1] < size or (latent.dim() == 3 and flat.shape[1] != size):
        return False
    return any(torch.equal(flat[0, :size], each) for each in latent.reshape(-1, size))


@torch.no_grad()
def _linear_part(module: nn.Module, given: Tensor, size: int) -> Tensor | None:
    """The matrix ``[out, size]`` of a module as a function of the first numbers of its input; None if not affine."""

    def output(first: Tensor) -> Tensor:
        inputs = given.reshape(1, -1).repeat(len(first), 1)
        inputs[:, :size] = first
        result = module(inputs.view(len(first), *given.shape[1:]))
        if not isinstance(result, Tensor):
            raise TypeError("a layer gives a tensor")
        return result.flatten(1).double()

    zero = torch.zeros(1, size).to(given)
    probe = torch.stack([torch.sin(torch.arange(size) + 1.0), torch.cos(3.0 * torch.arange(size))]).to(given)
    try:
        base = output(zero)
        one, two, both = (output(each[None])[0] - base[0] for each in (probe[0], probe[1], 3 * probe[0] - probe[1]))
    except (TypeError, ValueError, RuntimeError):  # it takes more than one argument, or does not treat rows apart
        return None
    scale = max(float(one.abs().max()), float(two.abs().max()))
    if scale == 0 or float((both - (3 * one - two)).abs().max()) > 1e-4 * scale:
        return None
    return (output(torch.eye(size).to(given)) - base).T


def _vectors(space: LatentSpace, seed: int, samples: int) -> Tensor:
    """Latents as vectors, float64 ``[samples, D]``; of w, whose layers are alike, the first layer's."""
    latents = space.from_seeds(range(seed, seed + samples)).cpu().double()
    return latents[:, 0] if latents.dim() == 3 else latents


def _directions(space: LatentSpace, vectors: Tensor, values: Tensor, count: int, seed: int) -> Directions:
    """The directions of the largest eigenvalues, from eigenvectors ``[D, D]`` in ascending order."""
    if not 1 <= count <= len(values):
        raise OptionError(f"{count} directions are not to be had", f"from 1 to {len(values)}")
    chosen = vectors.T.flip(0)[:count].contiguous()
    # An eigenvector's sign is arbitrary; with its largest number positive, it is the same everywhere.
    largest = chosen.gather(1, chosen.abs().argmax(1, keepdim=True))
    chosen = chosen * largest.sign()
    spread = (_vectors(space, seed, 1000) @ chosen.T).std(0)
    return Directions(chosen, values.flip(0)[:count].contiguous(), spread)
