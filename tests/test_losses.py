import math

import pytest
import torch

from ganforge import Pair
from ganforge.builtin.losses import (
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    RelativisticPairing,
    Wasserstein,
)


def log_sigmoid(x: float) -> float:
    """log(1 / (1 + exp(-x))) by the branch that does not overflow, in Python's own float64."""
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


REFERENCE = {
    # For each loss: what D and what G minimize, of one real logit r and one fake logit f.
    Minimax: (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: log_sigmoid(-f)),
    NonSaturating: (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: -log_sigmoid(f)),
    LeastSquares: (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    Hinge: (lambda r, f: max(0.0, 1 - r) + max(0.0, 1 + f), lambda r, f: -f),
    Wasserstein: (lambda r, f: f - r, lambda r, f: -f),
    RelativisticPairing: (lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
}


def sigmoid(x: float) -> float:
    return math.exp(log_sigmoid(x))


def nothing(r, f):
    return 0.0


SLOPES = {
    # Derivatives of the same by r and by f, for D and for G.
    Minimax: ((lambda r, f: -sigmoid(-r), lambda r, f: sigmoid(f)), (nothing, lambda r, f: -sigmoid(f))),
    NonSaturating: ((lambda r, f: -sigmoid(-r), lambda r, f: sigmoid(f)), (nothing, lambda r, f: -sigmoid(-f))),
    LeastSquares: ((lambda r, f: r - 1, lambda r, f: f), (nothing, lambda r, f: f - 1)),
    Hinge: ((lambda r, f: -float(r < 1), lambda r, f: float(f > -1)), (nothing, lambda r, f: -1.0)),
    Wasserstein: ((lambda r, f: -1.0, lambda r, f: 1.0), (nothing, lambda r, f: -1.0)),
    RelativisticPairing: (
        (lambda r, f: -sigmoid(f - r), lambda r, f: sigmoid(f - r)),
        (lambda r, f: sigmoid(r - f), lambda r, f: -sigmoid(r - f)),
    ),
}

LOGITS = [(0.0, 0.0), (1.5, -2.5), (-3.0, 0.7), (100.0, -100.0), (-100.0, 100.0), (1e4, -1e4), (-1e4, 1e4)]


@pytest.mark.parametrize("factory", REFERENCE)
@pytest.mark.parametrize(("real", "fake"), LOGITS)
def test_values_and_gradients_equal_the_closed_form(factory, real, fake):
    for player, reference, (by_real, by_fake) in zip(
        ("discriminator", "generator"), REFERENCE[factory], SLOPES[factory], strict=True
    ):
        r = torch.tensor([real], dtype=torch.float64, requires_grad=True)
        f = torch.tensor([fake], dtype=torch.float64, requires_grad=True)
        value = getattr(factory(), player)(Pair(r, f))
        assert value.item() == pytest.approx(reference(real, fake), rel=1e-12, abs=1e-300)
        gradients = torch.autograd.grad(value, (r, f), allow_unused=True)
        found = [0.0 if each is None else each.item() for each in gradients]
        assert found == pytest.approx([by_real(real, fake), by_fake(real, fake)], rel=1e-12, abs=1e-40)


@pytest.mark.parametrize("factory", REFERENCE)
def test_a_batch_counts_by_its_mean(factory):
    torch.manual_seed(0)
    real, fake = torch.randn(2, 257, dtype=torch.float64) * 5
    for player, reference in zip(("discriminator", "generator"), REFERENCE[factory], strict=True):
        expected = sum(reference(r, f) for r, f in zip(real.tolist(), fake.tolist(), strict=True)) / 257
        assert getattr(factory(), player)(Pair(real, fake)).item() == pytest.approx(expected, rel=1e-12)


def test_the_two_players_of_minimax_share_one_value_function():
    fake = torch.randn(8, dtype=torch.float64)
    real = torch.full((8,), 1e6, dtype=torch.float64)  # whose term vanishes
    loss = Minimax()
    assert loss.generator(Pair(real, fake)).item() == pytest.approx(-loss.discriminator(Pair(real, fake)).item())


def test_a_loss_that_never_asks_for_real_logits_does_not_cause_them():
    def fail():
        raise AssertionError("real logits were computed")

    for factory in REFERENCE.keys() - {RelativisticPairing}:
        assert factory().generator(Pair(fail, torch.zeros(3))).isfinite()
