"""Penalties on the gradient of the discriminator."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ganforge import Regularizer, Step, hookimpl


class R1(Regularizer):
    """Zero-centred gradient penalty on real examples (Mescheder 2018, arXiv:1801.04406): E[|grad D(x)|^2] / 2.

    Its weight is the paper's gamma.
    """

    weight: ClassVar[float] = 10.0

    def discriminator(self, step: Step) -> Tensor:
        """Half the mean squared norm of the gradient of the logits by the real examples; a scalar."""
        (gradient,) = torch.autograd.grad(step.logits.real.sum(), step.images.real, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean() / 2


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Offer the penalties."""
    return {"r1": R1}
