"""Penalties of the discriminator: on its gradients, its logits, its weights."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ganforge import Discriminator, Regularizer, Step, hookimpl


def gradient_by(logits: Tensor, examples: Tensor) -> Tensor:
    """Return the gradient ``[N, D]`` of logits ``[N]`` by their examples ``[N, ...]``, differentiable."""
    (gradient,) = torch.autograd.grad(logits.sum(), examples, create_graph=True)
    return gradient.flatten(1)


def per_example(count: int, like: Tensor) -> Tensor:
    """Draw a number in [0, 1) per example, broadcastable: ``[N, 1, ...]``."""
    return torch.rand(count, *[1] * (like.dim() - 1), device=like.device, dtype=like.dtype)


def _distance_from_one(gradients: Tensor) -> Tensor:
    """Return the mean squared distance from 1 of norms of ``[N, D]``."""
    norms: Tensor = torch.linalg.vector_norm(gradients, dim=1)
    return (norms - 1).square().mean()


class R1(Regularizer):
    """Zero-centered gradient penalty on real examples (Mescheder 2018, arXiv:1801.04406): E[|grad d(x)|^2] / 2.

    The weight is the paper's gamma. With a `spread` s, E[((d(x + s n) - d(x)) / s)^2] / 2 with normal noise n takes its
    place (Lin 2025, arXiv:2501.08316), which needs no second derivatives: equal for linear d, and close for small s.
    It is of augmented examples, the exact penalty of examples before augmentation.

    Args:
        spread: Standard deviation of the noise; 0 for the exact gradient.
    """

    weight: ClassVar[float] = 10.0
    side: ClassVar[str] = "real"

    def __init__(self, *, spread: float = 0.0) -> None:
        super().__init__()
        if spread < 0:
            raise ValueError(f"spread={spread} must be at least 0")
        self.spread = spread

    def discriminator(self, step: Step) -> Tensor:
        logits: Tensor = getattr(step.logits, self.side)
        if not self.spread:
            squares = gradient_by(logits, getattr(step.images, self.side)).square().sum(1)
        else:
            examples = getattr(step.augmented, self.side).detach()
            noisy = step.judge(examples + self.spread * torch.randn_like(examples), augment=False)
            squares = ((noisy - logits) / self.spread).square()
        return squares.mean() / 2


class R2(R1):
    """Zero-centered gradient penalty on generated examples (Mescheder 2018, arXiv:1801.04406): E[|grad d(G(z))|^2] / 2.

    The weight is the paper's gamma. A `spread` is as in `R1`.

    Args:
        spread: Standard deviation of the noise; 0 for the exact gradient.
    """

    side = "fake"


class GradientPenalty(Regularizer):
    """One-centered gradient penalty between real and generated examples (Gulrajani 2017, arXiv:1704.00028).

    E[(|grad d(y)| - 1)^2] with y = e x + (1 - e) G(z), e uniform in [0, 1) per example.
    """

    weight: ClassVar[float] = 10.0

    def discriminator(self, step: Step) -> Tensor:
        real, fake = step.images.real.detach(), step.images.fake.detach()
        between = fake.lerp(real, per_example(len(real), real)).requires_grad_()
        return _distance_from_one(gradient_by(step.judge(between), between))


class Dragan(Regularizer):
    """One-centered gradient penalty around real examples (Kodali 2017, arXiv:1705.07215).

    Args:
        spread: Width of the noise around an example, in standard deviations of the batch.
    """

    weight: ClassVar[float] = 10.0

    def __init__(self, *, spread: float = 0.5) -> None:
        super().__init__()
        if spread <= 0:
            raise ValueError(f"spread={spread} must be above 0")
        self.spread = spread

    def discriminator(self, step: Step) -> Tensor:
        real = step.images.real.detach()
        noise = self.spread * real.std() * torch.rand_like(real)
        around = (real + per_example(len(real), real) * noise).requires_grad_()
        return _distance_from_one(gradient_by(step.judge(around), around))


class Drift(Regularizer):
    """Keeps logits of real examples near 0 (Karras 2018, arXiv:1710.10196, appendix A.1): E[d(x)^2].

    A Wasserstein critic may drift otherwise, since its loss depends only on differences.
    """

    weight: ClassVar[float] = 0.001

    def discriminator(self, step: Step) -> Tensor:
        return step.logits.real.square().mean()


class LeCam(Regularizer):
    """Keeps the logits of each side near the running mean of the other's (Tseng 2021, arXiv:2104.03310).

    E[(d(x) - a)^2] + E[(d(G(z)) - b)^2] with a the mean logit of generated examples and b that of real ones.

    Args:
        decay: Decay of the running means per step, in [0, 1).
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
        now = torch.stack((step.logits.real.detach().mean(), step.logits.fake.detach().mean()))
        self.means.copy_(torch.where(self.started, torch.lerp(now, self.means, self.decay), now))
        self.started.fill_(True)
        mean_real, mean_fake = self.means.unbind()
        return (step.logits.real - mean_fake).square().mean() + (step.logits.fake - mean_real).square().mean()


class Clip(Regularizer):
    """Clips the critic's weights after each of its steps (Arjovsky 2017, arXiv:1701.07875).

    Args:
        bound: Maximum magnitude of a weight.
    """

    def __init__(self, *, bound: float = 0.01) -> None:
        super().__init__()
        if bound <= 0:
            raise ValueError(f"bound={bound} must be above 0")
        self.bound = bound

    def constrain(self, discriminator: Discriminator) -> None:
        with torch.no_grad():
            for parameter in filter(lambda each: each.requires_grad, discriminator.parameters()):
                parameter.clamp_(-self.bound, self.bound)


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    return {"r1": R1, "r2": R2, "gp": GradientPenalty, "dragan": Dragan, "drift": Drift, "lecam": LeCam, "clip": Clip}
