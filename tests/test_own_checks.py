"""The checks for authors take parts that train as they should: frozen layers, own networks, random losses."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, softplus

from ganforge import DataSpec, FeatureDiscriminator, Generator, Loss, Regularizer
from ganforge.testing import check_discriminator, check_generator, check_loss, check_regularizer

VECTOR = DataSpec((3,))


class FrozenLayer(Generator):
    z_dim = 4

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.pretrained = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).eval().requires_grad_(False)
        self.last = nn.Linear(4, data.shape[0])

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.last(self.pretrained(z))


class InfoDiscriminator(FeatureDiscriminator):
    """With a head that predicts the code from the features."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(data.shape[0], 8), nn.Softplus())
        self.judge = nn.Linear(8, 1)
        self.code = nn.Linear(8, 2)

    def features(self, images, labels=None):
        return self.layers(images)

    def head(self, features, labels=None):
        return self.judge(features).squeeze(1)


class Information(Regularizer):
    """Mutual information of a binary code, the sign of the first latent (Chen 2016)."""

    def discriminator(self, step):
        return cross_entropy(step.discriminator.code(step.features.fake), (step.latents[:, 0] > 0).long())

    generator = discriminator


class Cycle(Regularizer):
    """Brings examples back to their latents, by a network of its own sized by the data."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.back = nn.Linear(data.shape[0], 4)

    def generator(self, step):
        return (self.back(step.images.fake) - step.latents).abs().mean()


class SecondDiscriminator(Regularizer):
    """A discriminator of its own, so the first one gets no gradient."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.network = nn.Linear(data.shape[0], 1)

    def discriminator(self, step):
        return (softplus(self.network(step.images.fake)) + softplus(-self.network(step.images.real))).mean()


class RandomMargin(Loss):
    """The margin is drawn for each example."""

    def discriminator(self, logits):
        margin = torch.rand_like(logits.real)
        return softplus(margin - logits.real).mean() + softplus(margin + logits.fake).mean()

    def generator(self, logits):
        return softplus(torch.rand_like(logits.fake) - logits.fake).mean()


class RandomSum(RandomMargin):
    def generator(self, logits):
        return softplus(torch.rand_like(logits.fake) - logits.fake).sum()


def test_frozen_layers_pass():
    check_generator(FrozenLayer, VECTOR)


def test_parameters_that_only_a_regularizer_uses_pass_if_they_are_named():
    with pytest.raises(AssertionError, match=r"code.weight gets no gradient .*only_regularized=\['code.weight'\]"):
        check_discriminator(InfoDiscriminator, VECTOR)
    check_discriminator(InfoDiscriminator, VECTOR, only_regularized=["code."])


def test_a_regularizer_is_checked_on_the_networks_that_it_needs():
    check_regularizer(Information, VECTOR, generator=FrozenLayer(VECTOR), discriminator=InfoDiscriminator(VECTOR))
    with pytest.raises(AttributeError, match="code"):
        check_regularizer(Information)


@pytest.mark.parametrize("factory", [Cycle, SecondDiscriminator])
def test_a_regularizer_may_have_networks_of_its_own_sized_by_the_data(factory):
    check_regularizer(factory)


def test_a_random_margin_is_not_taken_for_a_dependence_on_the_batch():
    check_loss(RandomMargin)
    with pytest.raises(AssertionError, match="generator depends on the size of the batch"):
        check_loss(RandomSum)
