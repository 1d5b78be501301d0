import pytest
import torch

from ganforge import Discriminator, Pair, Step
from ganforge.builtin.mlp import MLPGenerator
from ganforge.builtin.penalties import R1, R2, Clip, Dragan, Drift, GradientPenalty, LeCam
from ganforge.contract.data import DataSpec


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


class Smooth(Discriminator):
    """A small network whose second derivatives do not vanish."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        layers = [torch.nn.Linear(5, 6), torch.nn.Softplus(), torch.nn.Linear(6, 1)]
        self.network = torch.nn.Sequential(*layers).double()

    def forward(self, images, labels=None):
        return self.network(images).squeeze(1)


def step_of(discriminator, real, fake=None):
    generator = MLPGenerator(DataSpec((5,)), z_dim=2, hidden=(4,))
    fake = real.detach().clone().requires_grad_() if fake is None else fake
    return Step(generator, discriminator, images=Pair(real, fake), latents=torch.zeros(len(real), 2))


def examples(seed, count=7):
    return torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def slope(discriminator, points):
    """The gradient of the quadratic, by hand."""
    return points @ (discriminator.a + discriminator.a.T) / 2 + discriminator.b


def half_square(slopes):
    return slopes.square().sum(1).mean() / 2


def from_one(slopes):
    return (slopes.square().sum(1).sqrt() - 1).square().mean()


def test_r1_and_r2_are_half_the_mean_squared_gradient_of_a_known_function():
    discriminator, real, fake = Quadratic(), examples(1), examples(2)
    step = step_of(discriminator, real, fake)
    assert R1().discriminator(step).item() == pytest.approx(half_square(slope(discriminator, real)).item(), rel=1e-12)
    assert R2().discriminator(step).item() == pytest.approx(half_square(slope(discriminator, fake)).item(), rel=1e-12)


@pytest.mark.parametrize("factory", [R1, R2])
def test_the_approximate_penalty_has_the_expected_value_of_a_quadratic(factory):
    """E[(g n + s n A n / 2)^2] = |g|^2 + s^2 (tr(A)^2 + 2 tr(A A)) / 4 for normal n."""
    discriminator, points, spread = Quadratic(), examples(1, count=3), 0.5
    a = (discriminator.a + discriminator.a.T) / 2
    expected = (
        slope(discriminator, points).square().sum(1).mean() + spread**2 * (a.trace() ** 2 + 2 * (a @ a).trace()) / 4
    )
    many = points.detach().repeat(100_000, 1)
    torch.manual_seed(0)
    found = factory(spread=spread).discriminator(step_of(discriminator, many, many))
    assert found.item() == pytest.approx(expected.item() / 2, rel=0.01)


def test_the_approximate_penalty_teaches_as_the_exact_one():
    discriminator, points = Smooth(), examples(2, count=7).detach()
    weights = list(discriminator.parameters())[:-1]  # the last bias has no gradient
    real = points.clone().requires_grad_()
    exact = torch.autograd.grad(R1().discriminator(step_of(discriminator, real)), weights, allow_unused=True)
    torch.manual_seed(0)
    many = points.repeat(50_000, 1)
    near = torch.autograd.grad(R1(spread=1e-3).discriminator(step_of(discriminator, many)), weights)
    for mine, theirs in zip(near, exact, strict=True):
        assert torch.nn.functional.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0) > 0.999
        assert mine.norm() / theirs.norm() == pytest.approx(1, abs=0.02)


def test_the_approximate_penalty_judges_examples_as_they_were_augmented():
    """Noise is added after augmentation, so a constant discriminator of moved examples has no penalty."""
    shifts = iter(range(1, 100))
    discriminator, points = Quadratic(), examples(3)
    with torch.no_grad():
        discriminator.a.zero_()
    step = step_of(discriminator, points)
    step.augment = lambda images: images + next(shifts)
    torch.manual_seed(0)
    spread = 1e-4
    found = R1(spread=spread).discriminator(step)
    torch.manual_seed(0)
    noise = torch.randn(7, 5, dtype=torch.float64)
    assert found.item() == pytest.approx((noise @ discriminator.b).square().mean().item() / 2, rel=1e-6)


def test_gp_is_the_distance_of_the_gradients_norm_from_one_between_the_two_sides():
    discriminator, real, fake = Quadratic(), examples(1), examples(2)
    step = step_of(discriminator, real, fake)
    torch.manual_seed(4)
    found = GradientPenalty().discriminator(step)
    torch.manual_seed(4)
    share = torch.rand(7, 1, dtype=torch.float64)
    between = share * real + (1 - share) * fake
    assert found.item() == pytest.approx(from_one(slope(discriminator, between)).item(), rel=1e-12)


def test_gp_draws_a_share_for_each_example():
    seen = []

    class Watching(Quadratic):
        def forward(self, images, labels=None):
            seen.append(images)
            return super().forward(images)

    real, fake = torch.zeros(2, 64, 5, dtype=torch.float64).unbind()
    GradientPenalty().discriminator(step_of(Watching(), real + 1, fake))
    (between,) = seen
    assert (between == between[:, :1]).all()  # one share for all of an example
    assert len(between[:, 0].unique()) == 64
    assert 0 <= between.min() < 0.2 < 0.8 < between.max() < 1


def test_dragan_penalises_around_real_examples():
    discriminator, real = Quadratic(), examples(1)
    step = step_of(discriminator, real)
    torch.manual_seed(4)
    found = Dragan(spread=0.3).discriminator(step)
    torch.manual_seed(4)
    noise = 0.3 * real.std() * torch.rand(7, 5, dtype=torch.float64)
    around = real + torch.rand(7, 1, dtype=torch.float64) * noise
    assert found.item() == pytest.approx(from_one(slope(discriminator, around)).item(), rel=1e-12)


def test_drift_is_the_mean_square_of_the_logits_of_real_examples():
    discriminator, real = Quadratic(), examples(1)
    logits = (real @ discriminator.a * real).sum(1) / 2 + real @ discriminator.b
    found = Drift().discriminator(step_of(discriminator, real, examples(2)))
    assert found.item() == pytest.approx(logits.square().mean().item(), rel=1e-12)


def test_lecam_holds_each_side_near_the_running_mean_of_the_other():
    lecam = LeCam(decay=0.9).double()
    mean_real = mean_fake = None
    for seed in range(3):
        discriminator, real, fake = Quadratic(), examples(seed), examples(seed + 10)
        step = step_of(discriminator, real, fake)
        r, f = step.logits.real, step.logits.fake
        mean_real = r.mean() if mean_real is None else 0.9 * mean_real + 0.1 * r.mean()
        mean_fake = f.mean() if mean_fake is None else 0.9 * mean_fake + 0.1 * f.mean()
        expected = (r - mean_fake).square().mean() + (f - mean_real).square().mean()
        assert lecam.discriminator(step).item() == pytest.approx(expected.item(), rel=1e-12)


def test_clip_bounds_every_weight_after_a_step():
    discriminator = Smooth()
    Clip(bound=0.05).constrain(discriminator)
    largest = max(parameter.abs().max().item() for parameter in discriminator.parameters())
    assert largest == 0.05


@pytest.mark.parametrize("factory", [R1, R2, GradientPenalty, Dragan, Drift, LeCam])
def test_the_gradient_by_the_weights_equals_finite_differences(factory):
    discriminator = Smooth()

    def penalty():
        torch.manual_seed(3)
        return factory().double().discriminator(step_of(discriminator, examples(1, 4), examples(2, 4)))

    parameters = list(discriminator.parameters())
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    # LeCam's running means are constants to the gradient, but move with the weights: they are held for the difference.
    if factory is LeCam:
        held = factory().double()
        held.discriminator(step_of(discriminator, examples(1, 4), examples(2, 4)))
        held.decay = 1.0
        state = {name: value.clone() for name, value in held.state_dict().items()}

        def penalty():
            held.load_state_dict(state)
            return held.discriminator(step_of(discriminator, examples(1, 4), examples(2, 4)))

    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat = parameter.data.view(-1)
        for index in range(len(flat)):
            kept, size = flat[index].item(), 1e-5
            flat[index] = kept + size
            above = penalty().item()
            flat[index] = kept - size
            below = penalty().item()
            flat[index] = kept
            found = 0.0 if gradient is None else gradient.view(-1)[index].item()
            assert found == pytest.approx((above - below) / (2 * size), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(("factory", "options"), [(Dragan, {"spread": 0}), (LeCam, {"decay": 1}), (Clip, {"bound": 0})])
def test_options_out_of_range_are_refused(factory, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name}="):
        factory(**options)


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
