"""Objectives written as plugins train by the step contract, without changes to the trainer.

Wasserstein with gradient penalty (Gulrajani 2017), relativistic pairing with R1 and R2 (Huang 2024), path length
(Karras 2020), feature matching (Salimans 2016), packing (Lin 2018), an auxiliary classifier (Odena 2017).
"""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from ganforge import (
    DataSpec,
    Discriminator,
    FeatureDiscriminator,
    Generator,
    Loss,
    OptionError,
    Pair,
    PluginError,
    Regularizer,
)
from ganforge.builtin.penalties import R1
from ganforge.config.schema import resolve
from ganforge.contract.schedules import Schedule
from ganforge.plugins.registry import Registry
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.players import validate_networks
from ganforge.training.state import Penalty, TrainingState
from ganforge.training.steps import Batch, step_discriminator, step_generator


class Wasserstein(Loss):
    def discriminator(self, logits):
        return logits.fake.mean() - logits.real.mean()

    def generator(self, logits):
        return -logits.fake.mean()


class GradientPenalty(Regularizer):
    weight = 10.0

    def discriminator(self, step):
        share = torch.rand(len(step.latents), 1)
        between = torch.lerp(step.images.real, step.images.fake, share).detach().requires_grad_()
        (gradient,) = torch.autograd.grad(step.judge(between).sum(), between, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class Relativistic(Loss):
    def discriminator(self, logits):
        return softplus(logits.fake - logits.real).mean()

    def generator(self, logits):
        return softplus(logits.real - logits.fake).mean()


class R2(Regularizer):
    def discriminator(self, step):
        (gradient,) = torch.autograd.grad(step.logits.fake.sum(), step.images.fake, create_graph=True)
        return gradient.square().flatten(1).sum(1).mean() / 2


class PathLength(Regularizer):
    every = 2

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def generator(self, step):
        w = step.generator.mapping(step.latents[: len(step.latents) // 2])
        images = step.generator.synthesis(w)
        direction = torch.randn_like(images) / images[0].numel() ** 0.5
        (gradient,) = torch.autograd.grad((images * direction).sum(), w, create_graph=True)
        lengths = gradient.square().sum(1).sqrt()
        self.mean.lerp_(lengths.detach().mean(), 0.01)
        return (lengths - self.mean).square().mean()


class FeatureMatching(Regularizer):
    def generator(self, step):
        return (step.features.fake.mean(0) - step.features.real.mean(0)).square().sum()


class AuxiliaryClassifier(Regularizer):
    def discriminator(self, step):
        scores = [step.discriminator.classify(each) for each in (step.features.real, step.features.fake)]
        return sum(cross_entropy(each, step.labels) for each in scores)

    def generator(self, step):
        return cross_entropy(step.discriminator.classify(step.features.fake), step.labels)


class Packed(Discriminator):
    """Judges two examples at once."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Softplus(), nn.Linear(8, 1))

    def forward(self, images, labels=None):
        return self.layers(images.reshape(len(images) // 2, -1)).squeeze(1)


class StyleLike(Generator):
    z_dim = 3

    def __init__(self):
        super().__init__()
        self.map = nn.Sequential(nn.Linear(3, 8), nn.Tanh())
        self.draw = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))

    def mapping(self, z):
        return self.map(z)

    def synthesis(self, w):
        return self.draw(w)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.draw(self.map(z))


class Critic(FeatureDiscriminator):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Softplus())
        self.judge = nn.Linear(8, 1)
        self.classes = nn.Linear(8, 3)
        self.passes = 0

    def features(self, images, labels=None):
        self.passes += 1
        return self.layers(images)

    def head(self, features, labels=None):
        return self.judge(features).squeeze(1)

    def classify(self, features):
        return self.classes(features)


def state_of(loss, penalties=(), discriminator=None):
    torch.manual_seed(0)
    generator, discriminator = StyleLike(), discriminator or Critic()
    return TrainingState(
        generator=generator,
        discriminator=discriminator,
        ema=copy.deepcopy(generator),
        loss=loss,
        penalties=[
            Penalty(type(each).__name__, each, Schedule.constant(each.weight), each.every) for each in penalties
        ],
        augmentations=[],
        generator_optimizer=torch.optim.Adam(generator.parameters(), lr=1e-2, fused=True),
        discriminator_optimizer=torch.optim.Adam(discriminator.parameters(), lr=1e-2, fused=True),
    )


def take_steps(state, count=2, batch=8):
    rows = []
    for index in range(count):
        torch.manual_seed(index)
        real, latents, labels = torch.randn(batch, 2), torch.randn(batch, 3), torch.arange(batch) % 3
        fake = state.generator(latents, labels)
        row = step_discriminator(state, [(Batch(real, latents, labels), fake)], index)
        row |= step_generator(state, [(Batch(real, latents, labels), fake)], index)
        rows.append(row)
    return rows


CASES = {
    "wgan-gp": (Wasserstein, [GradientPenalty], Critic),
    "wgan-gp and r1": (Wasserstein, [GradientPenalty, R1], Critic),
    "r3gan": (Relativistic, [R1, R2], Critic),
    "path length": (Relativistic, [R1, PathLength], Critic),
    "feature matching": (Wasserstein, [FeatureMatching], Critic),
    "auxiliary classifier": (Wasserstein, [AuxiliaryClassifier], Critic),
    "packing": (Relativistic, [R1, R2], Packed),
}


@pytest.mark.parametrize("name", CASES)
def test_an_objective_trains_through_the_contract_alone(name):
    loss, penalties, discriminator = CASES[name]
    state = state_of(loss(), [each() for each in penalties], discriminator())
    before = {key: [p.clone() for p in module.parameters()] for key, module in state.modules().items()}
    rows = take_steps(state)
    for penalty in state.penalties:
        assert any(key.endswith(f"/{penalty.name}") for key in rows[0])
    assert all(value.isfinite() for row in rows for value in row.values())
    for player in ("generator", "discriminator"):
        moved = [
            not torch.equal(a, b) for a, b in zip(before[player], state.modules()[player].parameters(), strict=True)
        ]
        assert sum(moved) >= 3, player  # a bias that cancels in differences of logits may rest


def test_sides_that_nobody_asks_for_are_not_computed():
    state = state_of(Wasserstein())
    take_steps(state, count=1)
    assert state.discriminator.passes == 3  # D(x) and D(G(z)) in D's step, D(G(z)) in G's
    state = state_of(Relativistic())
    take_steps(state, count=1)
    assert state.discriminator.passes == 4  # and D(x) in G's


def test_penalties_share_the_passes_of_the_loss():
    state = state_of(Relativistic(), [R1(), R2(), FeatureMatching(), AuxiliaryClassifier()])
    take_steps(state, count=1)
    assert state.discriminator.passes == 4


def test_a_lazy_penalty_has_the_same_mean_gradient_as_one_of_every_step():
    def mean_gradient(every):
        state = state_of(Wasserstein(), [R1()])
        state.penalties[0].every = every
        total = torch.zeros(16)
        for index in range(4):
            state.discriminator_optimizer = Keep(state.discriminator)
            latents = torch.randn(8, 3)
            torch.manual_seed(5)  # the same examples each time: only the interval differs
            real, fake = torch.randn(2, 8, 2)
            step_discriminator(state, [(Batch(real, latents), fake)], index)
            total += state.discriminator_optimizer.gradient
        return total / 4

    assert torch.allclose(mean_gradient(1), mean_gradient(4), rtol=1e-5)
    assert torch.allclose(mean_gradient(1), mean_gradient(2), rtol=1e-5)


class Keep:
    """An optimizer that only looks at the gradient of the first layer."""

    def __init__(self, network):
        self.network = network

    def step(self):
        self.gradient = self.network.layers[0].weight.grad.flatten().clone()

    def zero_grad(self):
        self.network.zero_grad()


def test_the_generators_step_leaves_no_gradient_in_the_discriminator():
    state = state_of(Relativistic(), [R1()])
    take_steps(state)
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())


def test_state_of_a_penalty_is_kept_with_the_run():
    state = state_of(Wasserstein(), [PathLength()])
    take_steps(state)
    tensors = state.tensors()
    assert tensors["regularizer.PathLength/mean"] > 0
    again = state_of(Wasserstein(), [PathLength()])
    take_steps(again, count=1)
    again.load({name: tensor.clone() for name, tensor in tensors.items()})
    assert torch.equal(again.penalties[0].regularizer.mean, state.penalties[0].regularizer.mean)


def test_a_pair_computes_each_side_once():
    calls = []
    pair = Pair(lambda: calls.append("real") or torch.ones(1), torch.zeros(1))
    assert pair.real is pair.real
    assert calls == ["real"]
    assert pair.fake.item() == 0


class Scales(Critic):
    """Two logits of a coarse scale and one of a fine scale for each example."""

    scales = ((2, 1.0), (1, 0.25))

    def head(self, features, labels=None):
        coarse = super().head(features, labels)
        return torch.stack([coarse, 2 * coarse, coarse - 3], dim=1).flatten()


def test_each_scale_has_its_own_loss_and_its_weight():
    class Best(Wasserstein):
        """Not linear in the logits, so that a loss of all logits is another number."""

        def discriminator(self, logits):
            return super().discriminator(logits).square()

    state = state_of(Best(), discriminator=Scales())
    judge, batch = copy.deepcopy(state.discriminator), Batch(torch.randn(8, 2), torch.randn(8, 3))
    fake = state.generator(batch.latents).detach()
    row = step_discriminator(state, [(batch, fake)], 0)
    real, made = judge(batch.real).view(8, 3), judge(fake).view(8, 3)
    coarse, fine = (made[:, part].mean() - real[:, part].mean() for part in ([0, 1], [2]))
    assert torch.allclose(row["discriminator/loss"], coarse**2 + 0.25 * fine**2)


def test_scales_that_do_not_fit_the_logits_are_refused():
    class Short(Scales):
        scales = ((2, 1.0),)

    generator, config = state_of(Wasserstein()).generator, resolve(Registry.installed(), {"training": {"batch": 8}})
    with pytest.raises(OptionError, match="returns 24 logits for 8 examples, but its scales are of 16"):
        validate_networks(generator, Short(), {}, config, DataSpec((2,)), torch.device("cpu"))


def test_what_a_step_collects_reaches_update_after_it_and_only_where_something_was_collected():
    class Remember(Regularizer):
        every = 2

        def __init__(self):
            super().__init__()
            self.seen = []

        def discriminator(self, step):
            step.collect("fake", step.images.fake)

        def update(self, collected):
            self.seen.append({name: values.clone() for name, values in collected.items()})

    state = state_of(Wasserstein(), [Remember()])
    shown = [Batch(torch.randn(8, 2), torch.randn(8, 3)) for _ in range(3)]
    fakes = [state.generator(batch.latents).detach() for batch in shown]
    for index, (batch, fake) in enumerate(zip(shown, fakes, strict=True)):
        step_discriminator(state, [(batch, fake)], index)
    seen = state.penalties[0].regularizer.seen
    assert [list(each) for each in seen] == [["fake"], ["fake"]]
    assert torch.equal(seen[0]["fake"], fakes[0])
    assert torch.equal(seen[1]["fake"], fakes[2])


def test_names_that_only_some_microbatches_collect_are_told():
    class Once(Regularizer):
        def discriminator(self, step):
            if not hasattr(self, "done"):
                step.collect("fake", step.images.fake)
            self.done = True

    state = state_of(Wasserstein(), [Once()])
    engine = Engine(ExecutionPlan(accumulate=2), torch.device("cpu"))
    batch = Batch(torch.randn(8, 2), torch.randn(8, 3))
    pairs = [(each, state.generator(each.latents).detach()) for each in batch.split(2)]
    with pytest.raises(PluginError, match="'Once' collects other names in some microbatches"):
        step_discriminator(state, pairs, 0, engine)
