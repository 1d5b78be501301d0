"""Directions of attributes, from what a reader of images sees in generated ones; and how well they work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.explore.spaces import LatentSpace

Read = Callable[[Tensor], Tensor]
"""From images uint8 ``[N, C, H, W]`` to which attributes they show, bool ``[N, A]``."""

_BATCH = 256


@dataclass(frozen=True)
class AttributeMeans:
    """Mean latents of images with and without an attribute, all else being alike.

    Attributes:
        with_it: Mean ``[...]`` of latents whose images have it.
        without_it: Of those whose images do not.
        seeds_with: Seeds of images that have it.
        seeds_without: Seeds of images that do not.
    """

    with_it: Tensor
    without_it: Tensor
    seeds_with: list[int]
    seeds_without: list[int]


@dataclass(frozen=True)
class DirectionScore:
    """What a direction does to images that lack its attribute.

    Attributes:
        count: Number of such images.
        gained: Share of them that have the attribute once the direction is added.
        kept: Share that keep each other attribute as it was, by name.
        kept_all: Share that keep all others.
    """

    count: int
    gained: float
    kept: dict[str, float]
    kept_all: float


def attribute_means(
    space: LatentSpace, read: Read, attribute: int, *, seed: int = 0, count: int = 1000
) -> AttributeMeans:
    """Mean latents with and without an attribute, from images as they come.

    Attributes may go together in what a generator draws: faces with glasses may wear more hats. So images are sorted by
    all their other attributes, and the means of each such group count alike: the difference is that of the attribute.

    Args:
        space: Of latents.
        read: Tells attributes.
        attribute: Which, by number.
        seed: Of the first image.
        count: Number of images to look at.

    Raises:
        OptionError: No two images differ in this attribute alone.
    """
    seeds = range(seed, seed + count)
    latents = space.from_seeds(seeds)
    shown = read(space.render(latents))
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
            f"of {count} images {int(has.sum())} have the attribute, and no two differ in it alone",
            "look at more of them, or choose another attribute",
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
    """Add a direction to latents whose images lack an attribute, and see what changes.

    Args:
        space: Of latents.
        read: Tells attributes.
        direction: What is added, ``[...]`` as one latent.
        attribute: Which, by number.
        names: Of all attributes.
        seed: Of the first image; take others than those that the direction came from.
        count: Number of images without the attribute.

    Raises:
        OptionError: Such images are rarer than one in twenty.
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
            f"only {num_found} of {20 * count} images lack '{names[attribute]}'", "there is too little to measure on"
        )
    before = torch.cat(befores)[:count]
    after = read(space.render(torch.cat(found)[:count] + direction))
    same = before == after
    same[:, attribute] = True
    kept = {name: float(same[:, i].double().mean()) for i, name in enumerate(names) if i != attribute}
    return DirectionScore(count, float(after[:, attribute].double().mean()), kept, float(same.all(1).double().mean()))
