"""Latent interpolation through seeds and back to the first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError, nearest
from ganforge.core.interpolation import INTERPOLATIONS
from ganforge.explore.spaces import LatentSpace, Source


def walk_latents(stops: Tensor, steps: int, interpolation: str) -> Tensor:
    """Interpolate latents ``[N, ...]`` along a closed path; the first is not repeated at the end.

    Returns:
        ``[N * steps, ...]``; every `steps`-th latent is exactly a stop.
    """
    if interpolation not in INTERPOLATIONS:
        raise OptionError(f"unknown interpolation '{interpolation}'", nearest(interpolation, INTERPOLATIONS))
    if len(stops) < 2:
        raise OptionError("a walk needs at least two seeds", "e.g. --from-seeds 1,5,9")
    if steps < 1:
        raise OptionError(f"invalid number of steps: {steps}", "the minimum is 1")
    weights = torch.arange(steps, dtype=torch.float64).div(steps).view(-1, *[1] * (stops.dim() - 1))
    between = INTERPOLATIONS[interpolation]
    return torch.cat(
        [between(start[None], end[None], weights) for start, end in zip(stops, stops.roll(-1, 0), strict=True)]
    )


def walk(space: LatentSpace, sources: Sequence[Source], *, steps: int = 20, interpolation: str | None = None) -> Tensor:
    """Generate the frames of a looping latent interpolation through at least two seeds or latents.

    The default is slerp in z, where latents lie near a sphere, and lerp in w.

    Returns:
        uint8 ``[len(sources) * steps, C, H, W]``.
    """
    interpolation = interpolation or ("slerp" if space.name == "z" else "lerp")
    return space.render(walk_latents(space.latents(sources), steps, interpolation))
