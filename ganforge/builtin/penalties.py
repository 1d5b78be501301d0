"""Penalties on the discriminator: on its gradient by the examples, on its logits, on its weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ganforge import Discriminator, Regularizer, Step, hookimpl


def gradient_by(logits: Tensor, examples: Tensor) -> Tensor:
    """The gradient of each logit by its own example, as ``[N, D]`` with a graph of its own.

    Args:
        logits: ``[N]``, each of which depends on its own example alone.
        examples: ``[N, ...]``, which take gradients.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), examples, create_graph=True)
    return gradient.flatten(1)


def per_example(count: int, like: Tensor) -> Tensor:
    """One number in [0, 1) for each example, shaped to be multiplied with them: ``[N, 1, ...]``."""
    return torch.rand(count, *[1] * (like.dim() - 1), device=like.device, dtype=like.dtype)


def _distance_from_one(gradients: Tensor) -> Tensor:
    """Mean squared distance from 1 of the norms of gradients ``[N, D]``."""
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    return (norms - 1).square().mean()


class R1(Regularizer):
    """Zero-centred gradient penalty on real examples (Mescheder 2018, arXiv:1801.04406): E[|grad d(x)|^2] / 2.

    Its weight is the paper's gamma.
    """

    weight: ClassVar[float] = 10.0

    def discriminator(self, step: Step) -> Tensor:
        """Half the mean squared norm of the gradient of the logits by the real examples; a scalar."""
        return gradient_by(step.logits.real, step.images.real).square().sum(1).mean() / 2


class R2(Regularizer):
    """Zero-centred gradient penalty on generated examples (Mescheder 2018, arXiv:1801.04406): E[|grad d(G(z))|^2] / 2.

    Its weight is the paper's gamma.
    """

    weight: ClassVar[float] = 10.0

    def discriminator(self, step: Step) -> Tensor:
        """Half the mean squared norm of the gradient of the logits by the generated examples; a scalar."""
        return gradient_by(step.logits.fake, step.images.fake).square().sum(1).mean() / 2


class GradientPenalty(Regularizer):
    """One-centred gradient penalty between real and generated examples (Gulrajani 2017, arXiv:1704.00028).

    E[(|grad d(y)| - 1)^2] with y = e x + (1 - e) G(z), e uniform in [0, 1) and drawn for each example.
    """

    weight: ClassVar[float] = 10.0

    def discriminator(self, step: Step) -> Tensor:
        """Mean squared distance of the gradient's norm from 1, on interpolates; a scalar."""
        real, fake = step.images.real.detach(), step.images.fake.detach()
        between = fake.lerp(real, per_example(len(real), real)).requires_grad_()
        return _distance_from_one(gradient_by(step.judge(between), between))


class Dragan(Regularizer):
    """One-centred gradient penalty around real examples (Kodali 2017, arXiv:1705.07215).

    Args:
        spread: Width of the noise around an example, in deviations of the batch.
    """

    weight: ClassVar[float] = 10.0

    def __init__(self, *, spread: float = 0.5) -> None:
        super().__init__()
        if spread <= 0:
            raise ValueError(f"spread={spread} must be above 0")
        self.spread = spread

    def discriminator(self, step: Step) -> Tensor:
        """Mean squared distance of the gradient's norm from 1, on perturbed real examples; a scalar."""
        real = step.images.real.detach()
        noise = self.spread * real.std() * torch.rand_like(real)
        around = (real + per_example(len(real), real) * noise).requires_grad_()
        return _distance_from_one(gradient_by(step.judge(around), around))


class Drift(Regularizer):
    """Keeps the logits of real examples near 0 (Karras 2018, arXiv:1710.10196, appendix A.1): E[d(x)^2].

    A Wasserstein critic may else drift away as a whole, for its loss knows only differences.
    """

    weight: ClassVar[float] = 0.001

    def discriminator(self, step: Step) -> Tensor:
        """Mean square of the logits of real examples; a scalar."""
        return step.logits.real.square().mean()


class LeCam(Regularizer):
    """Holds the logits of each side near the running mean of the other's (Tseng 2021, arXiv:2104.03310).

    E[(d(x) - a)^2] + E[(d(G(z)) - b)^2] with a the mean logit of generated examples so far and b that of real ones.

    Args:
        decay: Of the running means, a step; in [0, 1).
    """

    weight: ClassVar[float] = 0.3

    means: Tensor
    started: Tensor

    def __init__(self, *, decay: float = 0.99) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} must be at least 0 and below 1")
        self.decay = decay
        self.register_buffer("means", torch.zeros(2))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def discriminator(self, step: Step) -> Tensor:
        """Squared distances from the running means, which take this step in first; a scalar."""
        now = torch.stack((step.logits.real.detach().mean(), step.logits.fake.detach().mean()))
        self.means.copy_(torch.where(self.started, torch.lerp(now, self.means, self.decay), now))
        self.started.fill_(True)
        mean_real, mean_fake = self.means.unbind()
        return (step.logits.real - mean_fake).square().mean() + (step.logits.fake - mean_real).square().mean()


class Clip(Regularizer):
    """Clips the critic's weights after each of its steps, as the first WGAN did (Arjovsky 2017, arXiv:1701.07875).

    Args:
        bound: Largest magnitude of a weight.
    """

    def __init__(self, *, bound: float = 0.01) -> None:
        super().__init__()
        if bound <= 0:
            raise ValueError(f"bound={bound} must be above 0")
        self.bound = bound

    def constrain(self, discriminator: Discriminator) -> None:
        """Clip every parameter that is trained to [-bound, bound]."""
        with torch.no_grad():
            for parameter in filter(lambda each: each.requires_grad, discriminator.parameters()):
                parameter.clamp_(-self.bound, self.bound)


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Offer the penalties."""
    return {
        "r1": R1,
        "r2": R2,
        "gp": GradientPenalty,
        "dragan": Dragan,
        "drift": Drift,
        "lecam": LeCam,
        "clip": Clip,
    }
