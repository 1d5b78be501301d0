"""Truncation sweep: the same seeds at several truncations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.core.images import to_uint8
from ganforge.explore.capabilities import require_truncation
from ganforge.explore.spaces import ZSpace


@torch.no_grad()
def truncation_sweep(space: ZSpace, seeds: Sequence[int], psis: Sequence[float]) -> Tensor:
    """Generate images at several truncations (Karras 2019, arXiv:1812.04948, figure 8).

    Truncation 1 changes nothing, 0 gives the mean, -1 the opposite.

    Returns:
        uint8 ``[len(seeds), len(psis), C, H, W]``.
    """
    require_truncation(space.generator)
    z = space.from_seeds(seeds)
    labels = space.labels(len(z))
    return torch.stack([to_uint8(space.generator(z, labels, truncation=psi)).cpu() for psi in psis], dim=1)
