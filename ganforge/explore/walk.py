"""A walk through latent space from seed to seed and back to the first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.interpolation import INTERPOLATIONS
from ganforge.explore.spaces import LatentSpace


def walk_latents(stops: Tensor, steps: int, interpolation: str) -> Tensor:
    """Latents on the closed way through all stops.

    Args:
        stops: Latents ``[N, ...]``.
        steps: From one stop to the next.
        interpolation: ``lerp`` or ``slerp``.

    Returns:
        ``[N * steps, ...]``; every so many steps it is a stop, exactly. The first does not come again at the end.

    Raises:
        OptionError: An unknown interpolation, fewer than two stops, or no steps.
    """
    if interpolation not in INTERPOLATIONS:
        raise OptionError(f"there is no interpolation '{interpolation}'", nearest(interpolation, INTERPOLATIONS))
    if len(stops) < 2:
        raise OptionError("a walk needs at least two seeds", "such as --from-seeds 1,5,9")
    if steps < 1:
        raise OptionError(f"{steps} steps lead nowhere", "the least is 1")
    weights = torch.arange(steps, dtype=torch.float64).div(steps).view(-1, *[1] * (stops.dim() - 1))
    between = INTERPOLATIONS[interpolation]
    return torch.cat(
        [between(start[None], end[None], weights) for start, end in zip(stops, stops.roll(-1, 0), strict=True)]
    )


def walk(space: LatentSpace, seeds: Sequence[int], *, steps: int = 20, interpolation: str | None = None) -> Tensor:
    """Pictures of a walk from seed to seed and back, for an animation that repeats.

    Args:
        space: Where to walk.
        seeds: At least two.
        steps: From one seed to the next.
        interpolation: ``lerp`` or ``slerp``; None for slerp in z, where latents lie near a sphere, and lerp in w.

    Returns:
        uint8 ``[len(seeds) * steps, C, H, W]``.

    Raises:
        OptionError: As `walk_latents`.
    """
    interpolation = interpolation or ("slerp" if space.name == "z" else "lerp")
    return space.render(walk_latents(space.from_seeds(seeds), steps, interpolation))
