import pytest
import torch

from ganforge import Discriminator, Pair, Step
from ganforge.builtin.mlp import MLPGenerator
from ganforge.builtin.penalties import R1
from ganforge.interfaces import DataSpec


class Quadratic(Discriminator):
    """d(x) = x A x / 2 + b x, whose gradient A x + b is known."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        half = torch.randn(5, 5, dtype=torch.float64)
        self.a = torch.nn.Parameter(half + half.T)
        self.b = torch.nn.Parameter(torch.randn(5, dtype=torch.float64))

    def forward(self, images, labels=None):
        return ((images @ self.a) * images).sum(1) / 2 + images @ self.b


def step_of(discriminator, real):
    generator = MLPGenerator(DataSpec((5,)), z_dim=2, hidden=(4,))
    return Step(generator, discriminator, images=Pair(real, real.detach()), latents=torch.zeros(len(real), 2))


def test_r1_is_half_the_mean_squared_gradient_of_a_known_function():
    discriminator = Quadratic()
    real = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    value = R1().discriminator(step_of(discriminator, real))
    expected = (real @ (discriminator.a + discriminator.a.T) / 2 + discriminator.b).square().sum(1).mean() / 2
    assert value.item() == pytest.approx(expected.item(), rel=1e-12)


def test_the_gradient_of_r1_equals_finite_differences():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.Softplus(), torch.nn.Linear(6, 1)).double()

    class Wrapped(Discriminator):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, images, labels=None):
            return self.network(images).squeeze(1)

    discriminator = Wrapped()
    real = torch.randn(4, 5, dtype=torch.float64)

    def penalty():
        return R1().discriminator(step_of(discriminator, real.clone().requires_grad_()))

    parameters = [each for each in discriminator.parameters() if each.requires_grad]
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in range(parameter.numel()):
            flat = parameter.data.view(-1)
            kept, size = flat[index].item(), 1e-5
            flat[index] = kept + size
            above = penalty().item()
            flat[index] = kept - size
            below = penalty().item()
            flat[index] = kept
            found = 0.0 if gradient is None else gradient.view(-1)[index].item()
            assert found == pytest.approx((above - below) / (2 * size), rel=1e-6, abs=1e-9)


def test_r1_shares_the_forward_pass_of_the_loss():
    calls = []

    class Counting(Quadratic):
        def forward(self, images, labels=None):
            calls.append(len(images))
            return super().forward(images, labels)

    step = step_of(Counting(), torch.randn(3, 5, dtype=torch.float64, requires_grad=True))
    assert step.logits.real.shape == (3,)
    assert R1().discriminator(step).isfinite()
    assert calls == [3]
