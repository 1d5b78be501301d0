"""Placeholders of an objective without a discriminator; neither is ever computed."""

from __future__ import annotations

from torch import Tensor

from ganforge.contract.errors import PluginError
from ganforge.contract.networks import Discriminator
from ganforge.contract.parts import Loss
from ganforge.contract.step import Pair


class NoDiscriminator(Discriminator):
    """Discriminator without parameters."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        raise PluginError("the recipe has no discriminator, because training.d_steps is 0", "use other terms")


class NoLoss(Loss):
    """Loss without terms."""

    def discriminator(self, logits: Pair) -> Tensor:
        return logits.real

    def generator(self, logits: Pair) -> Tensor:
        return logits.fake
