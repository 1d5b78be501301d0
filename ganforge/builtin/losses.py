"""Losses as functions of the logits d.

With D = sigmoid(d), -log D = softplus(-d) and -log(1 - D) = softplus(d), which is numerically stable.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import relu, softplus

from ganforge import Loss, Pair, hookimpl


class Minimax(Loss):
    """Minimax game: D maximizes E[log D(x)] + E[log(1 - D(G(z)))], G minimizes it (Goodfellow, arXiv:1406.2661).

    Args:
        smoothing: Difference of the target of real examples from 1 (Salimans 2016, section 3.4); in [0, 0.5).
    """

    def __init__(self, *, smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= smoothing < 0.5:
            raise ValueError(f"smoothing={smoothing} must be at least 0 and below 0.5, such as 0.1")
        self.smoothing = smoothing

    def discriminator(self, logits: Pair) -> Tensor:
        """-E[(1 - s) log D(x) + s log(1 - D(x))] - E[log(1 - D(G(z)))] with smoothing s."""
        # log D(x) - log(1 - D(x)) is the logit itself.
        real = softplus(-logits.real) + self.smoothing * logits.real
        return real.mean() + softplus(logits.fake).mean()

    def generator(self, logits: Pair) -> Tensor:
        """E[log(1 - D(G(z)))], which saturates while D wins."""
        return -softplus(logits.fake).mean()


class NonSaturating(Minimax):
    """Minimax for D; G maximizes E[log D(G(z))], whose gradient is strong while D wins (section 3)."""

    def generator(self, logits: Pair) -> Tensor:
        """-E[log D(G(z))]."""
        return softplus(-logits.fake).mean()


class LeastSquares(Loss):
    """Least squares: D regresses real examples to 1, generated ones to 0, G its own to 1 (Mao 2017)."""

    def discriminator(self, logits: Pair) -> Tensor:
        """E[(d(x) - 1)^2] / 2 + E[d(G(z))^2] / 2."""
        return ((logits.real - 1).square().mean() + logits.fake.square().mean()) / 2

    def generator(self, logits: Pair) -> Tensor:
        """E[(d(G(z)) - 1)^2] / 2."""
        return (logits.fake - 1).square().mean() / 2


class Hinge(Loss):
    """Hinge loss with a margin of 1 (Lim and Ye 2017, arXiv:1705.02894)."""

    def discriminator(self, logits: Pair) -> Tensor:
        """E[max(0, 1 - d(x))] + E[max(0, 1 + d(G(z)))]."""
        return relu(1 - logits.real).mean() + relu(1 + logits.fake).mean()

    def generator(self, logits: Pair) -> Tensor:
        """-E[d(G(z))]."""
        return -logits.fake.mean()


class Wasserstein(Loss):
    """Difference of means: the Wasserstein distance for a 1-Lipschitz critic (Arjovsky 2017, arXiv:1701.07875).

    It requires a Lipschitz constraint: ``gp`` or ``clip``.
    """

    def discriminator(self, logits: Pair) -> Tensor:
        """E[d(G(z))] - E[d(x)]."""
        return logits.fake.mean() - logits.real.mean()

    def generator(self, logits: Pair) -> Tensor:
        """-E[d(G(z))]."""
        return -logits.fake.mean()


class RelativisticPairing(Loss):
    """Relativistic pairing of generated and real examples (Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang 2024)."""

    def discriminator(self, logits: Pair) -> Tensor:
        """E[softplus(d(G(z)) - d(x))], paired within the batch."""
        return softplus(logits.fake - logits.real).mean()

    def generator(self, logits: Pair) -> Tensor:
        """E[softplus(d(x) - d(G(z)))], paired within the batch."""
        return softplus(logits.real - logits.fake).mean()


@hookimpl
def ganforge_losses() -> dict[str, type[Loss]]:
    return {
        "minimax": Minimax,
        "nonsat": NonSaturating,
        "lsgan": LeastSquares,
        "hinge": Hinge,
        "wasserstein": Wasserstein,
        "rpgan": RelativisticPairing,
    }
