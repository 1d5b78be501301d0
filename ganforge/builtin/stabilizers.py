"""Stabilizers against oscillation (Salimans 2016, arXiv:1606.03498)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ganforge import FeatureDiscriminator, OptionError, Regularizer, Step, hookimpl


class FeatureMatching(Regularizer):
    """Matches mean features of generated and real examples (Salimans 2016, section 3.1).

    |E[f(x)] - E[f(G(z))]|^2 with f the discriminator's last hidden layer; a penalty of the generator.
    """

    def generator(self, step: Step) -> Tensor:
        if not isinstance(step.discriminator, FeatureDiscriminator):
            raise OptionError(
                f"regularizer 'feature-matching' needs features, and {type(step.discriminator).__name__} has none",
                "use a subclass of FeatureDiscriminator, such as dcgan or mlp",
            )
        return (step.features.real.mean(0) - step.features.fake.mean(0)).square().sum()


class HistoricalAveraging(Regularizer):
    """Keeps both players near the mean of all their weights so far (Salimans 2016, section 3.3).

    |w - (w_1 + ... + w_t) / t|^2 with t the steps of the player, this one included.
    """

    weight: ClassVar[float] = 0.001

    generator_mean: Tensor
    generator_steps: Tensor
    discriminator_mean: Tensor
    discriminator_steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        for player in ("generator", "discriminator"):
            # The number of weights is known at the first step or from a state dict.
            self.register_buffer(f"{player}_mean", torch.zeros(0))
            self.register_buffer(f"{player}_steps", torch.zeros((), dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_take_sizes)  # type: ignore[no-untyped-call]

    def discriminator(self, step: Step) -> Tensor:
        return self._distance("discriminator", step.discriminator)

    def generator(self, step: Step) -> Tensor:
        return self._distance("generator", step.generator)

    def _distance(self, player: str, network: nn.Module) -> Tensor:
        weights = torch.cat([each.flatten() for each in network.parameters() if each.requires_grad])
        steps, mean = getattr(self, f"{player}_steps"), getattr(self, f"{player}_mean")
        if not mean.numel():
            mean = torch.zeros_like(weights)
        steps += 1
        mean = mean + (weights.detach() - mean) / steps
        setattr(self, f"{player}_mean", mean)
        distance: Tensor = (weights - mean).square().sum()
        return distance


def _take_sizes(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Resize the buffers to those of a state dict."""
    for name, buffer in list(module.named_buffers()):
        if prefix + name in state:
            setattr(module, name, buffer.new_empty(state[prefix + name].shape))


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    return {"feature-matching": FeatureMatching, "historical-averaging": HistoricalAveraging}
