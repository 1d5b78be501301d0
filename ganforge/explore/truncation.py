"""What truncation does: the same seeds, nearer and nearer to the mean, and beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.core.images import to_uint8
from ganforge.explore.capabilities import require_truncation
from ganforge.explore.spaces import ZSpace


@torch.no_grad()
def truncation_sweep(space: ZSpace, seeds: Sequence[int], psis: Sequence[float]) -> Tensor:
    """Images of the same seeds at several truncations (Karras 2019, arXiv:1812.04948, figure 8).

    Args:
        space: That of z, of a generator whose ``forward`` takes ``truncation``.
        seeds: One a row.
        psis: 1 leaves latents as they are, 0 gives their mean, -1 the opposite; one a column.

    Returns:
        uint8 ``[len(seeds), len(psis), C, H, W]``.

    Raises:
        OptionError: The generator cannot be truncated.
    """
    require_truncation(space.generator)
    z = space.from_seeds(seeds)
    labels = space.labels(len(z))
    return torch.stack([to_uint8(space.generator(z, labels, truncation=psi)).cpu() for psi in psis], dim=1)
