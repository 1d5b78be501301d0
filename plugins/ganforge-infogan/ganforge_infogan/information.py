"""The lower bound of the mutual information between codes and images (section 5)."""

from __future__ import annotations

from ganforge import Regularizer, Step
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from ganforge_infogan.networks import CodeDiscriminator, CodeGenerator


class Information(Regularizer):
    """Negative lower bound of the mutual information, for both players: how well images reveal their codes.

    Args:
        continuous: Weight of the continuous codes, whose distribution is N(prediction, 1).
    """

    def __init__(self, *, continuous: float = 0.1) -> None:
        super().__init__()
        self.continuous = continuous

    def discriminator(self, step: Step) -> Tensor:
        return self._measure(step)

    def generator(self, step: Step) -> Tensor:
        return self._measure(step)

    def _measure(self, step: Step) -> Tensor:
        generator, discriminator = step.generator, step.discriminator
        if not isinstance(generator, CodeGenerator) or not isinstance(discriminator, CodeDiscriminator):
            raise ValueError("needs generator and discriminator infogan: use --arch infogan")
        count = generator.categories
        if (count, generator.continuous) != (discriminator.categories, discriminator.continuous):
            raise ValueError("generator and discriminator must have equal categories and continuous")
        category, numbers = generator.codes(step.latents)
        read = step.compute(discriminator.read, step.features.fake)
        loss = cross_entropy(read[:, :count], category)
        step.log("accuracy", (read[:, :count].argmax(1) == category).float().mean())
        return loss + self.continuous * mse_loss(read[:, count:], numbers) if generator.continuous else loss
