"""Built-in optimizers, from torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganforge import Optimizer, Schedule, hookimpl

_BETA1, _BETA2 = Schedule.constant(0.5), Schedule.constant(0.999)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980).

    Args:
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.
    """

    def __init__(self, *, beta1: Schedule = _BETA1, beta2: Schedule = _BETA2) -> None:
        self.betas = beta1, beta2
        for name, beta in zip(("beta1", "beta2"), self.betas, strict=True):
            for value in (beta.start, beta.end):
                if not 0 <= value < 1:
                    raise ValueError(f"{name}={value:g} must be at least 0 and below 1")

    def build(self, parameters: Sequence[nn.Parameter], lr: float | Tensor) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=lr, fused=True)

    def group(self, images: int) -> Mapping[str, Any]:
        return {"betas": tuple(beta.at(images) for beta in self.betas)}


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).

    Args:
        weight_decay: Share of each weight that a step removes, times the learning rate.
    """

    def __init__(
        self,
        *,
        beta1: Schedule = _BETA1,
        beta2: Schedule = _BETA2,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(beta1=beta1, beta2=beta2)
        if weight_decay < 0:
            raise ValueError(f"weight_decay={weight_decay:g} must be at least 0")
        self.weight_decay = weight_decay

    def build(self, parameters: Sequence[nn.Parameter], lr: float | Tensor) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=lr, weight_decay=self.weight_decay, fused=True)


class RMSprop(Optimizer):
    """RMSprop without momentum, the optimizer of the first Wasserstein GAN (Arjovsky et al. 2017, arXiv:1701.07875).

    Args:
        decay: Decay of the mean of squared gradients.
    """

    def __init__(self, *, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay:g} must be at least 0 and below 1")
        self.decay = decay

    def build(self, parameters: Sequence[nn.Parameter], lr: float | Tensor) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=lr, alpha=self.decay, foreach=True)


@hookimpl
def ganforge_optimizers() -> dict[str, type[Optimizer]]:
    return {"adam": Adam, "adamw": AdamW, "rmsprop": RMSprop}
