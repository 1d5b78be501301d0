import math

import pytest
import torch
from torch import nn

from ganforge import DataSpec, Discriminator, FeatureDiscriminator, OptionError, Pair, Step
from ganforge.builtin.dcgan import DCGANDiscriminator
from ganforge.builtin.losses import Minimax, NonSaturating
from ganforge.builtin.mlp import MLPDiscriminator, MLPGenerator
from ganforge.builtin.packing import PackedDCGAN, PackedMLP
from ganforge.builtin.stabilizers import FeatureMatching, HistoricalAveraging
from ganforge.config.schema import resolve
from ganforge.plugins.registry import Registry
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator, step_generator


class Linear(FeatureDiscriminator):
    """Features A x, so that means of features are features of means."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4, bias=False, dtype=torch.float64)

    def features(self, images, labels=None):
        return self.layer(images)

    def head(self, features, labels=None):
        return features.sum(1)


def step_of(discriminator, real, fake, generator=None):
    generator = generator or MLPGenerator(DataSpec((3,)), z_dim=2, hidden=(4,))
    return Step(generator, discriminator, images=Pair(real, fake), latents=torch.zeros(len(real), 2))


# Feature matching.


def test_feature_matching_is_the_squared_distance_of_mean_features():
    torch.manual_seed(0)
    discriminator = Linear().requires_grad_(False)
    real, fake = torch.randn(2, 6, 3, dtype=torch.float64)
    fake.requires_grad_()
    value = FeatureMatching().generator(step_of(discriminator, real, fake))
    gap = (real.mean(0) - fake.mean(0)).detach()
    metric = discriminator.layer.weight.T @ discriminator.layer.weight
    assert value.item() == pytest.approx((gap @ metric @ gap).item(), rel=1e-12)
    (gradient,) = torch.autograd.grad(value, fake)
    assert torch.allclose(gradient, (-2 / 6 * metric @ gap).expand(6, 3))


def test_feature_matching_is_the_generators_alone_and_says_whom_it_needs():
    class Plain(Discriminator):
        def forward(self, images, labels=None):
            return images.sum(1)

    assert FeatureMatching().discriminator(step_of(Linear(), torch.zeros(2, 3), torch.zeros(2, 3))) is None
    with pytest.raises(OptionError, match="'feature-matching' needs features, and Plain has none"):
        FeatureMatching().generator(step_of(Plain(), torch.zeros(2, 3), torch.zeros(2, 3)))


# Historical averaging.


def test_historical_averaging_is_the_squared_distance_from_the_mean_over_time():
    torch.manual_seed(0)
    discriminator, averaging = Linear(), HistoricalAveraging()
    generator = MLPGenerator(DataSpec((3,)), z_dim=2, hidden=(4,)).double()
    step = step_of(discriminator, torch.zeros(2, 3), torch.zeros(2, 3), generator)
    for player, network in (("discriminator", discriminator), ("generator", generator)):
        history = []
        for _ in range(4):
            history.append([parameter.detach().clone() for parameter in network.parameters()])
            means = [sum(each) / len(history) for each in zip(*history, strict=True)]
            value = getattr(averaging, player)(step)
            gaps = [now - mean for now, mean in zip(history[-1], means, strict=True)]
            assert value.item() == pytest.approx(sum(gap.square().sum().item() for gap in gaps), rel=1e-9, abs=1e-20)
            found = torch.autograd.grad(value, list(network.parameters()))
            assert all(torch.allclose(each, 2 * gap) for each, gap in zip(found, gaps, strict=True))
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter += torch.randn_like(parameter)


def small_state(**settings):
    registry = Registry.installed()
    tree = {"recipe": "mlp", "generator": {"hidden": [4]}, "discriminator": {"name": "mlp", "hidden": [4]}, **settings}
    return build_state(resolve(registry, tree), registry, DataSpec((2,)), torch.device("cpu"))


def take_step(state, index):
    torch.manual_seed(index)
    real, latents = torch.randn(8, 2), torch.randn(8, state.generator.z_dim)
    fake = state.generator(latents)
    row = step_discriminator(state, [(Batch(real, latents), fake)], index)
    return row | step_generator(state, [(Batch(real, latents), fake)], index)


def test_a_run_with_historical_averaging_goes_on_bit_for_bit():
    settings = {"regularizers": {"historical-averaging": {"weight": 1.0}, "feature-matching": {}}}
    unbroken = small_state(**settings)
    for index in range(3):
        take_step(unbroken, index)
    kept = {name: tensor.clone() for name, tensor in unbroken.tensors().items()}
    resumed = small_state(**settings)
    resumed.load(kept)
    for index in (3, 4):
        expected, found = take_step(unbroken, index), take_step(resumed, index)
        assert (
            expected.keys() == found.keys() >= {"generator/historical-averaging", "discriminator/historical-averaging"}
        )
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert found["generator/historical-averaging"] > 0
    tensors = resumed.tensors()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in unbroken.tensors().items())
    assert tensors["regularizer.historical-averaging/generator_steps"] == 5


def test_a_run_can_be_loaded_from_before_its_first_step():
    settings = {"regularizers": {"historical-averaging": {}}}
    fresh, used = small_state(**settings), small_state(**settings)
    kept = {name: tensor.clone() for name, tensor in fresh.tensors().items()}
    take_step(used, 0)
    used.load(kept)
    row = take_step(used, 0)
    assert row["generator/historical-averaging"] == 0  # the first weights are their own mean


# One-sided label smoothing.


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


@pytest.mark.parametrize("factory", [Minimax, NonSaturating])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.25])
@pytest.mark.parametrize(("real", "fake"), [(0.0, 0.0), (1.5, -2.5), (-3.0, 0.7), (100.0, -100.0), (-1e4, 1e4)])
def test_smoothed_losses_equal_the_cross_entropy_with_a_smaller_target(factory, smoothing, real, fake):
    r = torch.tensor([real], dtype=torch.float64, requires_grad=True)
    f = torch.tensor([fake], dtype=torch.float64, requires_grad=True)
    value = factory(smoothing=smoothing).discriminator(Pair(r, f))
    expected = -(1 - smoothing) * log_sigmoid(real) - smoothing * log_sigmoid(-real) - log_sigmoid(-fake)
    assert value.item() == pytest.approx(expected, rel=1e-12, abs=1e-40)
    by_real, by_fake = torch.autograd.grad(value, (r, f))
    assert by_real.item() == pytest.approx(math.exp(log_sigmoid(real)) - (1 - smoothing), rel=1e-12, abs=1e-15)
    assert by_fake.item() == pytest.approx(math.exp(log_sigmoid(fake)), rel=1e-12, abs=1e-40)


@pytest.mark.parametrize("factory", [Minimax, NonSaturating])
def test_smoothing_is_one_sided_and_the_discriminators_alone(factory):
    fake = torch.randn(5, dtype=torch.float64)
    smoothed, plain = factory(smoothing=0.2), factory()
    assert smoothed.generator(Pair(fake, fake)) == plain.generator(Pair(fake, fake))
    best = torch.tensor([math.log(0.8 / 0.2)], dtype=torch.float64, requires_grad=True)  # where D(x) = 0.8
    (slope,) = torch.autograd.grad(smoothed.discriminator(Pair(best, fake)), best)
    assert slope.item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match="smoothing="):
        NonSaturating(smoothing=smoothing)


# Packing.


@pytest.mark.parametrize("pack", [2, 3])
@pytest.mark.parametrize(
    ("factory", "shape", "options"),
    [
        (PackedDCGAN, (3, 8, 8), {"width": 4, "normalization": "none"}),
        (PackedMLP, (3, 8, 8), {"hidden": (8,), "dropout": 0.0}),
        (PackedMLP, (5,), {"hidden": (8,)}),
    ],
)
def test_each_pack_of_neighbours_is_judged_by_itself(factory, shape, options, pack):
    torch.manual_seed(0)
    network = factory(DataSpec(shape), pack=pack, **options)
    images = torch.randn(4 * pack, *shape, requires_grad=True)
    logits = network(images)
    assert logits.shape == (4,)
    (gradient,) = torch.autograd.grad(logits[1], images, retain_graph=True)
    reached = gradient.flatten(1).any(1).tolist()
    assert reached == [pack <= index < 2 * pack for index in range(4 * pack)]
    by_hand = network.inner(torch.stack([torch.cat(list(each)) for each in images.split(pack)]))
    assert torch.allclose(logits, by_hand)


@pytest.mark.parametrize(
    ("packed", "plain", "shape", "options"),
    [
        (PackedDCGAN, DCGANDiscriminator, (3, 16, 16), {"width": 8, "max_width": 6}),
        (PackedMLP, MLPDiscriminator, (5,), {"hidden": (64, 4)}),
    ],
)
def test_a_packed_network_differs_from_the_plain_one_in_its_first_layer_alone(packed, plain, shape, options):
    torch.manual_seed(0)
    packed, plain = packed(DataSpec(shape), pack=3, **options).inner, plain(DataSpec(shape), **options)
    (wide, *others), (narrow, *theirs) = list(packed.parameters()), list(plain.parameters())
    assert wide.shape[1] == 3 * narrow.shape[1]
    assert [each.shape for each in others] == [each.shape for each in theirs]
    assert packed.layers[0].__class__ is plain.layers[0].__class__
    if plain.__class__ is DCGANDiscriminator:
        assert wide.std().item() == pytest.approx(0.02, rel=0.1)
        assert not packed.layers[0].bias.any()


@pytest.mark.parametrize(("factory", "shape"), [(PackedDCGAN, (1, 8, 8)), (PackedMLP, (5,))])
def test_what_does_not_divide_into_packs_is_refused(factory, shape):
    network = factory(DataSpec(shape), pack=3)
    with pytest.raises(OptionError, match="a batch of 7 is not a multiple of the pack size 3") as error:
        network(torch.zeros(7, *shape))
    assert "--batch" in str(error.value) + str(error.value.hint)
    with pytest.raises(ValueError, match="pack=1"):
        factory(DataSpec(shape), pack=1)


def test_packs_train_with_penalties_on_gradients_and_features():
    state = small_state(
        discriminator={"name": "mlp-packed", "hidden": [4]}, regularizers={"r1": {}, "gp": {}, "feature-matching": {}}
    )
    assert all(value.isfinite() for index in range(2) for value in take_step(state, index).values())
