"""The losses of the first paper (Goodfellow et al. 2014, arXiv:1406.2661), written with softplus.

With D = sigmoid(d): -log D = softplus(-d) and -log(1 - D) = softplus(d), which neither overflows nor loses digits.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from ganforge import Loss, Pair, hookimpl


class Minimax(Loss):
    """The value function of the 2014 game: D climbs E[log D(x)] + E[log(1 - D(G(z)))], G descends it."""

    def discriminator(self, logits: Pair) -> Tensor:
        """-E[log D(x)] - E[log(1 - D(G(z)))]; a scalar from logits ``[N]``."""
        return softplus(-logits.real).mean() + softplus(logits.fake).mean()

    def generator(self, logits: Pair) -> Tensor:
        """E[log(1 - D(G(z)))], which saturates while D wins; a scalar from logits ``[N]``."""
        return -softplus(logits.fake).mean()


class NonSaturating(Minimax):
    """Minimax for D; G climbs E[log D(G(z))] instead, whose gradient is strong while D wins (section 3)."""

    def generator(self, logits: Pair) -> Tensor:
        """-E[log D(G(z))]; a scalar from logits ``[N]``."""
        return softplus(-logits.fake).mean()


@hookimpl
def ganforge_losses() -> dict[str, type[Loss]]:
    """Offer the losses."""
    return {"minimax": Minimax, "nonsat": NonSaturating}
