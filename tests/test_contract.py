"""Every registered part passes the checks offered to authors of plugins; a new one enters by being registered."""

import pytest
import torch

from ganforge import Augmentation, Discriminator, FeatureDiscriminator, Generator, Loss, Regularizer
from ganforge.builtin.dcgan import DCGANGenerator
from ganforge.builtin.losses import NonSaturating
from ganforge.config.schema import resolve
from ganforge.contract.data import DataSpec
from ganforge.plugins.registry import Registry
from ganforge.testing import (
    check_augmentation,
    check_dataset,
    check_discriminator,
    check_generator,
    check_loss,
    check_regularizer,
)

REGISTRY = Registry.installed()
SMALL = {"dcgan-packed": {"width": 4}, "mlp-packed": {"hidden": (8, 8)}}
IMAGES = DataSpec((3, 16, 16), ("cat", "dog"))


def factories(kind):
    return [pytest.param(REGISTRY.part(kind, name).factory, id=name) for name in REGISTRY.names(kind)]


def without_classes(kind):
    """Names of networks that take no classes; test_conditioning.py checks the others, with classes and without."""
    return [name for name in REGISTRY.names(kind) if "conditioning" not in REGISTRY.options(kind, name)]


@pytest.mark.parametrize("name", without_classes("generator"))
def test_generators(name):
    check_generator(REGISTRY.part("generator", name).factory, IMAGES, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", without_classes("discriminator"))
def test_discriminators(name):
    check_discriminator(REGISTRY.part("discriminator", name).factory, IMAGES, **SMALL.get(name, {}))


@pytest.mark.parametrize("factory", factories("loss"))
def test_losses(factory):
    check_loss(factory)


@pytest.mark.parametrize("factory", factories("regularizer"))
def test_regularizers(factory):
    check_regularizer(factory)


@pytest.mark.parametrize("factory", factories("augmentation"))
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 8, 8), (2, 6, 9)], ids=str)
def test_augmentations(factory, shape):
    check_augmentation(factory, DataSpec(shape))


@pytest.mark.parametrize("name", ["avatars", "gaussian-1d", "ring-8", "grid-25"])
def test_embedded_datasets(name):
    options = {"count": 200} | ({"resolution": 16} if name == "avatars" else {})
    data = check_dataset(REGISTRY.part("dataset", name).factory, **options)
    assert len(data) == 200


@pytest.mark.parametrize("name", REGISTRY.names("recipe"))
def test_recipes_resolve_and_name_their_source(name):
    assert resolve(REGISTRY, {"recipe": name}).recipe == name
    recipe = REGISTRY.part("recipe", name).factory
    assert recipe.summary
    assert any(character.isdigit() for character in recipe.source)


@pytest.mark.parametrize("kind", ["generator", "discriminator", "loss", "regularizer", "augmentation", "dataset"])
def test_every_part_and_every_option_is_described(kind):
    for name in REGISTRY.names(kind):
        part = REGISTRY.part(kind, name)
        assert part.summary, name
        assert [option.name for option in part.options.values() if not option.help] == [], name


# What each check is there to find.


class Unbounded(DCGANGenerator):
    def forward(self, z, labels=None):
        return 2 + super().forward(z, labels)


class Leaking(Generator):
    z_dim = 4

    def __init__(self, data):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(z - z.mean(0))


class Forgetful(Leaking):
    def __init__(self, data):
        super().__init__(data)
        self.unused = torch.nn.Linear(4, 4)


class Unscriptable(Leaking):
    def forward(self, z, labels=None, **options):
        return self.layer(z)


class Scalar(Discriminator):
    def __init__(self, data):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, images, labels=None):
        return self.layer(images)


class Kinked(Scalar):
    def forward(self, images, labels=None):
        return self.layer(images.detach()).squeeze(1)


class Overridden(FeatureDiscriminator):
    def __init__(self, data):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def features(self, images, labels=None):
        return images.square()

    def head(self, features, labels=None):
        return self.layer(features).squeeze(1)

    def forward(self, images, labels=None):
        return self.head(self.features(images) * 2)


class Overflowing(Loss):
    def discriminator(self, logits):
        return (1 + logits.fake.exp()).log().mean() + (1 + (-logits.real).exp()).log().mean()

    def generator(self, logits):
        return (1 + (-logits.fake).exp()).log().mean()


class Summed(NonSaturating):
    def generator(self, logits):
        return torch.nn.functional.softplus(-logits.fake).sum()


class Reversed(NonSaturating):
    def generator(self, logits):
        return torch.nn.functional.softplus(logits.fake).mean()


class Idle(Regularizer):
    pass


class Constant(Regularizer):
    def discriminator(self, step):
        return torch.ones(())


class Noise(Augmentation):
    def __init__(self, data):
        super().__init__()
        self.strength = 0.1

    def forward(self, images):
        return images + self.strength * torch.randn_like(images)


class Alike(Noise):
    def forward(self, images):
        return images + torch.randn(())


class Cut(Noise):
    def forward(self, images):
        return super().forward(images).detach()


class Counting(Noise):
    def forward(self, images):
        self.strength += 1
        return super().forward(images)


class Unsaved(Noise):
    def update(self, logits):
        self.strength = 0.2


class Cropping(Noise):
    def forward(self, images):
        return super().forward(images)[:, :1]


VECTOR = DataSpec((2,))


@pytest.mark.parametrize(
    ("check", "factory", "arguments", "message"),
    [
        (check_generator, Unbounded, {"data": DataSpec((3, 8, 8)), "width": 4}, r"must be in \[-1, 1\]"),
        (check_generator, Leaking, {"data": VECTOR}, "depends on the others of its batch"),
        (check_generator, Forgetful, {"data": VECTOR}, "parameter unused.weight gets no gradient from forward"),
        (check_generator, Leaking, {"data": DataSpec((3,))}, r"forward returned \(4, 2\); expected \(4, 3\)"),
        (check_discriminator, Scalar, {"data": VECTOR}, r"must return logits \[N\]"),
        (check_discriminator, Overridden, {"data": VECTOR}, r"forward must be head\(features\)"),
        (check_loss, Overflowing, {}, "is not finite: use a numerically stable form"),
        (check_loss, Summed, {}, "take the mean over it"),
        (check_loss, Reversed(), {}, "give the class Reversed, not an object of it"),
        (check_loss, Reversed, {}, "the generator must gain from higher fake logits"),
        (check_augmentation, Alike, {"data": VECTOR}, "all examples are changed in the same way"),
        (check_augmentation, Cut, {"data": VECTOR}, "no gradient reaches the examples"),
        (check_augmentation, Counting, {"data": VECTOR}, "the same seed gave other changes"),
        (check_augmentation, Unsaved, {"data": VECTOR}, "a copy with the same state_dict gives a different result"),
        (check_augmentation, Cropping, {"data": VECTOR}, r"forward returned \(16, 1\) for examples \(16, 2\)"),
        (check_regularizer, Idle, {}, "neither discriminator nor generator returned anything"),
        (check_regularizer, Constant, {}, "without a gradient to its player"),
    ],
)
def test_a_check_finds_what_it_is_there_for(check, factory, arguments, message):
    with pytest.raises((AssertionError, RuntimeError), match=message):
        check(factory, **arguments)


def test_an_augmentation_that_is_sound_passes_the_check():
    check_augmentation(Noise, VECTOR)


def test_an_unscriptable_generator_is_explained():
    with pytest.raises(Exception, match=r"kwargs"):
        check_generator(Unscriptable, VECTOR)
