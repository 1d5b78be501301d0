import math

import pytest
import torch
from torch import nn

from ganforge import Discriminator, OptionError, Pair, Step, StyleGenerator
from ganforge.builtin.mlp import MLPGenerator
from ganforge.builtin.path_length import PathLength, jacobian_lengths
from ganforge.contract.data import DataSpec


class Styled(StyleGenerator):
    """Images of 2 x 3 x 4 from three styles of five numbers: M w, or tanh(M w)."""

    z_dim, w_dim, num_styles = 4, 5, 3

    def __init__(self, bent=False):
        super().__init__()
        self.mapper = nn.Linear(4, 5, dtype=torch.float64)
        self.draw = nn.Linear(15, 24, bias=False, dtype=torch.float64)
        self.bent = bent
        self.calls = []

    def mapping(self, z, labels=None, truncation=1.0, cutoff=-1):
        self.calls.append((z, labels))
        return self.mapper(z)[:, None].expand(-1, 3, -1)

    def synthesis(self, w, noise="fixed"):
        drawn = self.draw(w.flatten(1)).view(-1, 2, 3, 4)
        return drawn.tanh() if self.bent else drawn


class Idle(Discriminator):
    def forward(self, images, labels=None):
        return images.flatten(1).sum(1)


def step_of(generator, count=8, labels=None):
    z = torch.randn(count, generator.z_dim, dtype=torch.float64)
    images = torch.zeros(count, 2, 3, 4)
    return Step(generator, Idle(), images=Pair(images, images), latents=z, labels=labels)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_lengths_of_a_linear_generator_are_those_of_its_matrix_times_noise():
    generator = Styled()
    w = torch.randn(7, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.manual_seed(1)
    found = jacobian_lengths(generator, w)
    torch.manual_seed(1)
    y = torch.randn(7, 2, 3, 4, dtype=torch.float64) / math.sqrt(3 * 4)
    matrix = generator.draw.weight.detach()
    for n in range(7):
        by_style = (matrix.T @ y[n].flatten()).view(3, 5)
        expected = math.sqrt(sum(each.square().sum().item() for each in by_style) / 3)
        assert found[n].item() == pytest.approx(expected, rel=1e-12)


def test_their_mean_square_is_the_frobenius_norm_over_pixels_and_styles():
    generator = Styled()
    w = torch.zeros(20_000, 3, 5, dtype=torch.float64, requires_grad=True)
    squares = jacobian_lengths(generator, w).detach().square()
    product = (generator.draw.weight @ generator.draw.weight.T / (3 * 4 * 3)).detach()
    # Of y A y with y normal: the mean is the trace of A, the variance twice that of A A.
    deviation = math.sqrt(2 * (product @ product).trace().item() / 20_000)
    assert squares.mean().item() == pytest.approx(product.trace().item(), abs=5 * deviation)


def test_it_is_the_mean_squared_distance_from_a_running_mean_that_is_plain_at_first():
    generator, regularizer = Styled(), PathLength(decay=0.75, shrink=1).double()
    mean = 0.0
    for count in range(1, 9):
        step = step_of(generator)
        torch.manual_seed(count)
        found = regularizer.generator(step)
        torch.manual_seed(count)
        lengths = jacobian_lengths(generator, generator.mapping(step.latents)).tolist()
        mean += max(1 / count, 0.25) * (sum(lengths) / 8 - mean)
        assert regularizer.mean.item() == pytest.approx(mean, rel=1e-6)
        assert found.item() == pytest.approx(sum((each - mean) ** 2 for each in lengths) / 8, rel=1e-5)


def test_its_gradient_takes_the_running_mean_for_a_constant():
    generator, regularizer = Styled(bent=True), PathLength(shrink=1).double()
    step = step_of(generator)
    torch.manual_seed(1)
    parameters = [generator.mapper.weight, generator.draw.weight]
    gradients = torch.autograd.grad(regularizer.generator(step), parameters)

    def penalty():
        torch.manual_seed(1)
        lengths = jacobian_lengths(generator, generator.mapping(step.latents))
        return (lengths - regularizer.mean).square().mean().item()

    for parameter, gradient in zip(parameters, gradients, strict=True):
        for index in [(0, 0), (3, 2), (4, 1)]:
            changed = []
            for shift in (1e-5, -2e-5):
                with torch.no_grad():
                    parameter[index] += shift
                changed.append(penalty())
            with torch.no_grad():
                parameter[index] += 1e-5
            assert gradient[index].item() == pytest.approx((changed[0] - changed[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_a_generator_whose_lengths_vanish_gets_a_finite_gradient():
    generator = Styled()
    nn.init.zeros_(generator.draw.weight)
    gradients = torch.autograd.grad(PathLength().generator(step_of(generator)), [generator.draw.weight])
    assert gradients[0].isfinite().all()


@pytest.mark.parametrize(("count", "shrink", "size"), [(8, 2, 4), (8, 1, 8), (7, 3, 2), (1, 2, 1)])
def test_the_batch_is_shrunk_with_its_labels(count, shrink, size):
    generator, labels = Styled(), torch.arange(count)
    step = step_of(generator, count, labels)
    PathLength(shrink=shrink).generator(step)
    ((z, given),) = generator.calls
    assert torch.equal(z, step.latents[:size])
    assert torch.equal(given, labels[:size])


def test_its_state_goes_on_from_where_it_was():
    generator, first, second = Styled(), PathLength(), PathLength()
    for _ in range(3):
        first.generator(step_of(generator))
    second.load_state_dict(first.state_dict())
    step = step_of(generator)
    values = []
    for regularizer in (first, second):
        torch.manual_seed(1)
        values.append(regularizer.generator(step).item())
    assert values[0] == values[1]
    assert torch.equal(first.mean, second.mean)


def test_it_is_the_generators_alone_and_says_whom_it_needs():
    generator = MLPGenerator(DataSpec((3,)), z_dim=2, hidden=(4,))
    assert PathLength().discriminator(step_of(Styled())) is None
    with pytest.raises(OptionError, match="'path-length' needs styles, and MLPGenerator has none"):
        PathLength().generator(step_of(generator))


@pytest.mark.parametrize(("options", "message"), [({"decay": 1.0}, "decay=1.0"), ({"shrink": 0}, "shrink=0")])
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PathLength(**options)
