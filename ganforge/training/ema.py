"""Exponential moving average (EMA) of the generator's weights (Yazici 2019, arXiv:1806.04498)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.training.execution.buffers import unaveraged_buffers

RAMP = 0.05  # largest half-life as a share of the images seen so far: the EMA forgets the first networks quickly

POWER_ITERATION = ("_u", "_v")
"""Suffixes of the buffers in which torch's spectral normalization keeps singular vectors.

The mean of unit vectors is shorter than one, so an averaged vector gives a norm that is too small.
"""


def update_ema(ema: nn.Module, network: nn.Module, *, images: int, shown: int, half_life: float) -> None:
    """Update the EMA in place, batch statistics included; copy singular vectors, integers and unaveraged buffers.

    Args:
        ema: EMA of the network; same architecture.
        network: Network in training.
        images: Images of this step.
        shown: Images so far, this step included.
        half_life: Half-life in images; 0 copies the network.
    """
    half_life_now = min(half_life, RAMP * shown)
    keep = 0.5 ** (images / half_life_now) if half_life_now > 0 else 0.0
    olds: list[Tensor] = []
    news: list[Tensor] = []
    with torch.no_grad():
        for part, own in zip(ema.modules(), network.modules(), strict=True):
            for name, new in own.named_parameters(recurse=False):
                if new.requires_grad:
                    olds.append(part.get_parameter(name))
                    news.append(new)
            if not own.training:
                continue
            for name, value in own.named_buffers(recurse=False):
                if name in own._non_persistent_buffers_set:
                    continue
                kept = part.get_buffer(name)
                copied = name.endswith(POWER_ITERATION) or name in unaveraged_buffers(own)
                if copied or not kept.is_floating_point():
                    kept.copy_(value)
                else:
                    olds.append(kept)
                    news.append(value)
        torch._foreach_lerp_(olds, news, 1.0 - keep)
