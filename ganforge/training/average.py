"""The exponential moving average of a generator (Yazici 2019, arXiv:1806.04498), which is what is shown and saved."""

from __future__ import annotations

import torch
from torch import nn

RAMP = 0.05
"""The half-life is at most this share of all images so far, so that the first networks are forgotten soon."""


def update_average(average: nn.Module, network: nn.Module, *, images: int, shown: int, half_life: float) -> None:
    """Move the average towards the network, buffers such as batch statistics included.

    Args:
        average: A copy of the network, changed in place.
        network: The network being trained.
        images: Images of this step.
        shown: Images so far, this step included.
        half_life: Images after which an old network counts half; 0 to follow at once.
    """
    half_life_now = min(half_life, RAMP * shown)
    keep = 0.5 ** (images / half_life_now) if half_life_now > 0 else 0.0
    olds, news = [], []
    for old, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if old.is_floating_point():
            olds.append(old)
            news.append(new)
        else:
            old.copy_(new)
    with torch.no_grad():
        torch._foreach_lerp_(olds, news, 1.0 - keep)
