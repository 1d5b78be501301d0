"""The exponential moving average of a generator (Yazici 2019, arXiv:1806.04498), which is what is shown and saved."""

from __future__ import annotations

import torch
from torch import nn

RAMP = 0.05
"""The half-life is at most this share of all images so far, so that the first networks are forgotten soon."""

POWER_ITERATION = ("_u", "_v")
"""How the names of the buffers end in which both of torch's spectral normalisations keep singular vectors: their mean
would be shorter than they are, the norm be taken for less than it is, and weights come out too large."""


def update_average(average: nn.Module, network: nn.Module, *, images: int, shown: int, half_life: float) -> None:
    """Move the average towards the network, batch statistics included; singular vectors are the network's own.

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
    directions = {name for name, _ in network.named_buffers() if name.endswith(POWER_ITERATION)}
    own = network.state_dict()
    for name, old in average.state_dict().items():
        new = own[name]
        if old.is_floating_point() and name not in directions:
            olds.append(old)
            news.append(new)
        else:
            old.copy_(new)
    with torch.no_grad():
        torch._foreach_lerp_(olds, news, 1.0 - keep)
