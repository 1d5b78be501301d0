"""Directions of attributes that are read from generated images, and their evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.explore.directions import Directions, measure_deviations
from ganforge.explore.spaces import LatentSpace

Read = Callable[[Tensor], Tensor]  # reads attributes: images uint8 ``[N, C, H, W]`` to bool ``[N, A]``

_BATCH = 256


@dataclass(frozen=True)
class AttributeMeans:
    """Mean latents with and without an attribute, and the seeds of the images in both groups."""

    with_it: Tensor
    without_it: Tensor
    seeds_with: list[int]
    seeds_without: list[int]


@dataclass(frozen=True)
class DirectionScore:
    """Effect of a direction on `count` images without its attribute.

    Attributes:
        gained: Share that has the attribute afterwards.
        kept: Share that keeps each other attribute, by name.
        kept_all: Share that keeps all other attributes.
    """

    count: int
    gained: float
    kept: dict[str, float]
    kept_all: float


def attribute_means(
    space: LatentSpace, read: Read, attribute: int, *, seed: int = 0, count: int = 1000
) -> AttributeMeans:
    """Return mean latents with and without an attribute, with all others balanced.

    Attributes may correlate. So images are grouped by all other attributes, and the means of each group have equal
    weight. Raises `OptionError` if no two images differ in this attribute alone.

    Args:
        space: Latent space.
        read: Reads attributes.
        attribute: Index of the attribute.
        seed: First seed.
        count: Number of images.
    """
    latents = space.from_seeds(range(seed, seed + count))
    return _balance(latents, read(space.render(latents)), attribute, seed)


def attribute_directions(
    space: LatentSpace, read: Read, attributes: Sequence[int], *, seed: int = 0, count: int = 1000
) -> Directions:
    """Return the direction between the means of `attribute_means`, for each of several attributes.

    Arguments as of `attribute_means`. `Directions.values` are the distances of the means; directions need not be
    orthogonal. Raises `OptionError` as `attribute_means`.
    """
    latents = space.from_seeds(range(seed, seed + count))
    shown = read(space.render(latents))
    means = [_balance(latents, shown, attribute, seed) for attribute in attributes]
    steps = torch.stack([each.with_it - each.without_it for each in means]).cpu().double()
    steps = steps[:, 0] if steps.dim() == 3 else steps  # in w all layers have the same
    distances = steps.norm(dim=1)
    vectors = steps / distances[:, None]
    return Directions(vectors, distances, measure_deviations(space, vectors, seed))


def _balance(latents: Tensor, shown: Tensor, attribute: int, seed: int) -> AttributeMeans:
    """Return the means of latents ``[N, ...]`` of seeds from `seed` on, whose images have attributes ``[N, A]``."""
    count = len(latents)
    has = shown[:, attribute]
    others = shown.clone()
    others[:, attribute] = False
    pairs = []
    for group in torch.unique(others, dim=0):
        inside = (others == group).all(1)
        chosen = [(inside & mask).to(latents.device) for mask in (has, ~has)]
        if all(bool(each.any()) for each in chosen):
            pairs.append(torch.stack([latents[each].mean(0) for each in chosen]))
    if not pairs:
        raise OptionError(
            f"{int(has.sum())} of {count} images have the attribute, but no two differ in it alone",
            "use more images, or another attribute",
        )
    with_it, without_it = torch.stack(pairs).mean(0)
    chosen_seeds = [[seed + int(index) for index in mask.nonzero()[:, 0]] for mask in (has, ~has)]
    return AttributeMeans(with_it, without_it, *chosen_seeds)


def score_direction(
    space: LatentSpace,
    read: Read,
    direction: Tensor,
    attribute: int,
    names: Sequence[str],
    *,
    seed: int = 0,
    count: int = 500,
) -> DirectionScore:
    """Add a direction to latents of images without an attribute, and measure the effect.

    Args:
        space: Latent space.
        read: Reads attributes.
        direction: Direction with the shape of one latent.
        attribute: Index of the attribute; at least one in twenty images must lack it.
        names: Names of all attributes.
        seed: First seed; use others than for `attribute_means`.
        count: Number of images without the attribute.
    """
    found: list[Tensor] = []
    befores: list[Tensor] = []
    num_found = 0
    for start in range(seed, seed + 20 * count, _BATCH):
        latents = space.from_seeds(range(start, start + _BATCH))
        shown = read(space.render(latents))
        lacks = ~shown[:, attribute]
        found.append(latents[lacks.to(latents.device)])
        befores.append(shown[lacks])
        num_found += int(lacks.sum())
        if num_found >= count:
            break
    else:
        raise OptionError(
            f"only {num_found} of {20 * count} images lack '{names[attribute]}'", "choose another attribute"
        )
    before = torch.cat(befores)[:count]
    after = read(space.render(torch.cat(found)[:count] + direction))
    same = before == after
    same[:, attribute] = True
    kept = {name: float(same[:, i].double().mean()) for i, name in enumerate(names) if i != attribute}
    return DirectionScore(count, float(after[:, attribute].double().mean()), kept, float(same.all(1).double().mean()))
