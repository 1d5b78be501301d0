"""The exponential moving average of a generator (Yazici 2019, arXiv:1806.04498), which is what is shown and saved."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge.training.execution.buffers import unaveraged_buffers

RAMP = 0.05
"""The half-life is at most this share of all images so far, so that the first networks are forgotten soon."""

POWER_ITERATION = ("_u", "_v")
"""How the names of the buffers end in which both of torch's spectral normalisations keep singular vectors: their mean
would be shorter than they are, the norm be taken for less than it is, and weights come out too large."""


def update_average(average: nn.Module, network: nn.Module, *, images: int, shown: int, half_life: float) -> None:
    """Move the average towards the network, batch statistics included.

    Singular vectors, integers, and buffers that must not be averaged are copied. Frozen tensors stay as they are: the
    average began as a copy of the network.

    Args:
        average: A copy of the network, changed in place.
        network: The network being trained.
        images: Images of this step.
        shown: Images so far, this step included.
        half_life: Images after which an old network counts half; 0 to follow at once.
    """
    half_life_now = min(half_life, RAMP * shown)
    keep = 0.5 ** (images / half_life_now) if half_life_now > 0 else 0.0
    olds: list[Tensor] = []
    news: list[Tensor] = []
    with torch.no_grad():
        for part, own in zip(average.modules(), network.modules(), strict=True):
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
