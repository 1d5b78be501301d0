"""Truncation sweep: the same images at several truncations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.core.images import to_uint8
from ganforge.explore.capabilities import require_truncation
from ganforge.explore.spaces import LatentSpace, Source, WSpace, ZSpace


@torch.no_grad()
def truncation_sweep(space: LatentSpace, sources: Sequence[Source], psis: Sequence[float]) -> Tensor:
    """Generate images at several truncations (Karras 2019, arXiv:1812.04948, figure 8).

    Truncation 1 changes nothing, 0 gives the mean, -1 the opposite. Sources are seeds or latents. Latents in w are
    interpolated with the mean style.

    Returns:
        uint8 ``[len(sources), len(psis), C, H, W]``.
    """
    require_truncation(space.generator)
    latents = space.latents(sources)
    labels = space.labels(len(latents))
    if isinstance(space, WSpace):
        mean = space.styles.mapping(ZSpace(space.styles).from_seeds([0]), space.labels(1), truncation=0.0)
        return torch.stack([space.render(torch.lerp(mean, latents, psi)) for psi in psis], dim=1)
    return torch.stack([to_uint8(space.generator(latents, labels, truncation=psi)).cpu() for psi in psis], dim=1)
