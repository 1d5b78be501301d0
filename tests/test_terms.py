"""Terms: results, trained parameters and logged scalars of losses and regularizers."""

import pytest
import torch
from torch import nn

from ganforge import Augmentation, DataSpec, Discriminator, Loss, PluginError, Regularizer
from ganforge.builtin.mlp import MLPGenerator
from ganforge.config.schema import resolve
from ganforge.core.seeding import seed_everything
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry
from ganforge.training.ema import update_ema
from ganforge.training.execution.engine import EAGER, Engine, ExecutionPlan
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, take_step

CPU = torch.device("cpu")
SPEC = DataSpec((2,))


class Mean(Loss):
    def discriminator(self, logits):
        return (logits.fake - logits.real).mean()

    def generator(self, logits):
        return -logits.fake.mean()


class Vector(Mean):
    def generator(self, logits):
        return -logits.fake


class Learned(Mean):
    def __init__(self):
        super().__init__()
        self.margin = nn.Parameter(torch.ones(()))

    def discriminator(self, logits):
        return super().discriminator(logits) + (self.margin - 3).square()


class Returning(Regularizer):
    def __init__(self, *, what: str = "float"):
        super().__init__()
        self.what = what

    def discriminator(self, step):
        value = step.logits.real
        return {
            "float": lambda: 0.5,
            "vector": lambda: value,
            "integer": lambda: value.sum().long(),
            "detached": lambda: value.detach().mean(),
            "none": lambda: None,
        }[self.what]()


class Own(Regularizer):
    """A second discriminator of its own."""

    def __init__(self, data, *, width: int = 4):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(data.shape[0], width), nn.Tanh(), nn.Linear(width, 1))

    def discriminator(self, step):
        return (self.network(step.images.fake) - self.network(step.images.real)).mean()

    def generator(self, step):
        return -self.network(step.images.fake).mean()


class Inverse(Regularizer):
    """Learns the latents back from the examples, with the generator."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(2, 3)

    def generator(self, step):
        error = (self.network(step.images.fake) - step.latents).square().mean()
        step.log("error", error)
        step.log("scale", 2)
        return error


class Logging(Regularizer):
    def __init__(self, *, bad: str = ""):
        super().__init__()
        self.bad = bad

    def discriminator(self, step):
        step.log(self.bad or "largest", step.logits.real if self.bad else step.logits.real.amax())


class Queue(Regularizer):
    unaveraged_buffers = ("queue",)

    def __init__(self):
        super().__init__()
        self.register_buffer("queue", torch.zeros(3))
        self.register_buffer("mean", torch.zeros(()))

    def discriminator(self, step):
        self.queue.copy_(torch.cat((self.queue[1:], step.images.real.detach().mean()[None])))
        self.mean.copy_(step.images.real.detach().mean())


class Counting(MLPGenerator):
    unaveraged_buffers = ("pool",)

    def __init__(self, data):
        super().__init__(data, z_dim=3, hidden=(4,))
        self.register_buffer("pool", torch.zeros(2))

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        if self.training:
            self.pool.add_(1)
        return super().forward(z, labels)


class Short(MLPGenerator):
    """Returns one example too few, or doubles, in training mode."""

    def __init__(self, data, *, double: bool = False):
        super().__init__(data, z_dim=3, hidden=(4,))
        self.double = double

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        images = super().forward(z, labels)
        if not self.training:
            return images
        return images.to(torch.float64) if self.double else images[1:]


class ShortJudge(Discriminator):
    def __init__(self, data):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, images, labels=None):
        return self.layer(images).squeeze(1)[int(self.training) :]


class Failing(Regularizer):
    def generator(self, step):
        return step.nonsense


PARTS = {
    "generator": {"counting": Counting, "short": Short},
    "discriminator": {"short": ShortJudge},
    "loss": {"mean": Mean, "vector": Vector, "learned": Learned},
    "regularizer": {
        "returning": Returning,
        "own": Own,
        "inverse": Inverse,
        "logging": Logging,
        "queue": Queue,
        "failing": Failing,
    },
}


@pytest.fixture(scope="module")
def registry():
    return Registry([*Registry.installed().plugins, Plugin("mine", "mine", "1", "ok", parts=PARTS)])


def build(registry, loss="mean", regularizers=None, batch=8, **sections):
    tree = {
        "recipe": "mlp",
        "generator": {"z_dim": 3, "hidden": [4]},
        "discriminator": {"name": "mlp", "hidden": [4], "dropout": 0.0},
        "loss": {"name": loss},
        "regularizers": regularizers or {},
        "training": {"batch": batch},
        **sections,
    }
    config = resolve(registry, tree)
    state = build_state(config, registry, SPEC, CPU)
    state.apply_schedules(config.optimizer)
    return state


def step(state, index=0, engine=EAGER, batch=8):
    seed_everything(0, "step", index)
    rows = take_step(state, [Batch(torch.randn(batch, 2), torch.randn(batch, 3))], index, engine)
    return rows[0] | rows[1]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("float", r"regularizer 'returning' returned a value of type float as a term of the discriminator"),
        ("vector", r"returned a tensor of shape \(8,\) as a term of the discriminator \(return a scalar"),
        ("integer", r"returned a tensor of torch.int64"),
        ("detached", r"returned a scalar without a gradient .*step.log"),
    ],
)
def test_a_penalty_that_is_no_scalar_with_a_gradient_is_refused(registry, what, message):
    with pytest.raises(PluginError, match=message) as found:
        step(build(registry, regularizers={"returning": {"what": what}}))
    assert found.value.code == 2


def test_a_penalty_may_return_none(registry):
    row = step(build(registry, regularizers={"returning": {"what": "none"}}))
    assert "discriminator/returning" not in row


def test_a_loss_that_returns_a_vector_is_refused(registry):
    with pytest.raises(
        PluginError, match=r"loss 'vector' returned a tensor of shape \(8,\) as a term of the generator"
    ):
        step(build(registry, "vector"))


def test_parameters_of_a_regularizer_are_trained_by_the_discriminators_gradients(registry):
    state = build(registry, regularizers={"own": {"weight": 0.5}})
    own = state.penalties[0].regularizer.network
    seed_everything(0, "step", 0)
    real, z = torch.randn(8, 2), torch.randn(8, 3)
    expected = torch.autograd.grad(
        0.5 * (own(state.generator(z)) - own(real)).mean(), list(own.parameters()), allow_unused=True
    )
    before = [each.detach().clone() for each in own.parameters()]
    step(state)
    rate = state.discriminator_optimizer.param_groups[0]["lr"]
    for was, now, gradient in zip(before, own.parameters(), expected, strict=True):
        # The first step of Adam is the sign of the gradient; the generator's opposite term does not count.
        assert torch.allclose(now, was - rate * gradient / (gradient.abs() + 1e-8), atol=1e-6)
    assert "regularizer.own_optimizer/network.0.weight/exp_avg" in state.tensors()


@pytest.mark.parametrize(
    ("loss", "regularizer", "player"),
    [("mean", "own", "discriminator"), ("mean", "inverse", "generator"), ("learned", "drift", "discriminator")],
)
def test_a_run_with_trained_parts_goes_on_bit_for_bit(registry, loss, regularizer, player):
    unbroken, resumed = (build(registry, loss, {regularizer: {}}) for _ in range(2))
    moved = {name: each.clone() for name, each in unbroken.tensors().items() if name.startswith(("regu", "loss"))}
    for index in range(2):
        step(unbroken, index)
    assert moved.keys() <= unbroken.tensors().keys()
    still = [name for name, each in moved.items() if torch.equal(each, unbroken.tensors()[name])]
    assert set(still) <= {"regularizer.own/network.2.bias"}  # it cancels out of the term
    resumed.load({name: each.clone() for name, each in unbroken.tensors().items()})
    for state in (unbroken, resumed):
        step(state, 2)
    expected, found = unbroken.tensors(), resumed.tensors()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    names = [name for name in unbroken.trained[player] if name.startswith(("regularizer.", "loss_"))]
    assert len(names) == len([name for name in moved if name in unbroken.built])


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_part_logs_scalars_of_its_own(registry, accumulate):
    engine = Engine(ExecutionPlan(accumulate=accumulate), CPU)
    state = build(registry, regularizers={"inverse": {"weight": 0.25}, "logging": {}})
    row = step(state, engine=engine)
    assert row["generator/inverse/error"] * 0.25 == pytest.approx(row["generator/inverse"].item())
    assert row["generator/inverse/scale"] == 2
    assert row["discriminator/logging/largest"].isfinite()
    assert not row["generator/inverse/error"].requires_grad


@pytest.mark.parametrize("bad", ["vector", "two\nlines"])
def test_what_is_no_scalar_is_not_logged(registry, bad):
    with pytest.raises(PluginError, match=r"regularizer 'logging' of plugin 'mine' failed: ValueError: step.log: "):
        step(build(registry, regularizers={"logging": {"bad": bad}}))


def test_a_queue_is_as_the_last_part_left_it_and_a_mean_is_averaged(registry):
    state = build(registry, regularizers={"queue": {}})
    seed_everything(0, "step", 0)
    halves = [each.mean() for each in torch.randn(8, 2).chunk(2)]
    step(state, engine=Engine(ExecutionPlan(accumulate=2), CPU))
    found = state.penalties[0].regularizer
    assert torch.equal(found.queue, torch.stack((torch.zeros(()), torch.zeros(()), halves[1])))
    assert found.mean.item() == pytest.approx((halves[0] + halves[1]).item() / 2, abs=1e-6)


def test_the_average_of_a_generator_copies_buffers_that_are_not_averaged(registry):
    state = build(registry, generator={"name": "counting"})
    step(state)
    update_ema(state.ema, state.generator, images=8, shown=8, half_life=1000)
    assert state.ema.pool.tolist() == state.generator.pool.tolist() != [0.0, 0.0]


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"generator": {"name": "short"}}, r"generator 'short' returned \(7, 2\) of torch.float32"),
        ({"generator": {"name": "short", "double": True}}, r"generator 'short' returned \(8, 2\) of torch.float64"),
        (
            {"discriminator": {"name": "short"}},
            r"discriminator 'short' returned \(7,\) of torch.float32 for a batch of 8",
        ),
        (
            {"regularizers": {"failing": {}}},
            r"regularizer 'failing' of plugin 'mine' failed: AttributeError: .*nonsense",
        ),
    ],
)
def test_a_part_that_fails_in_mid_run_is_named(registry, sections, message):
    with pytest.raises(PluginError, match=message):
        step(build(registry, **sections))


class Trained(Augmentation):
    def __init__(self, data):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images):
        return images * self.scale


def test_an_augmentation_with_parameters_is_refused():
    plugin = Plugin("mine", "mine", "1", "ok", parts={**PARTS, "augmentation": {"trained": Trained}})
    registry = Registry([*Registry.installed().plugins, plugin])
    with pytest.raises(PluginError, match="augmentation 'trained' has trainable parameters, but no player trains them"):
        build(registry, augmentations={"trained": {}})
