"""Every architecture x loss x regularizer, conditional or not, trains; a new plugin enters by being registered."""

from itertools import product

import pytest
import torch

from ganforge import StyleGenerator
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.data import DataSpec
from ganforge.plugins.registry import Registry
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator, step_generator

REGISTRY = Registry.installed()
IMAGES = DataSpec((1, 8, 8), ("cat", "dog"))
SMALL = {"width": "4", "max_width": "8", "hidden": "8", "z_dim": "8", "w_dim": "8", "mapping_layers": "2"}

# A penalty that asks for something of the discriminator is given it; without it, it says what it lacks.
NEEDS = {"auxiliary": ("conditioning", "auxiliary"), "semi-supervised": ("conditioning", "joint")}
STYLED = [
    name for name in REGISTRY.names("generator") if issubclass(REGISTRY.part("generator", name).factory, StyleGenerator)
]


def architectures():
    """Each generator with the discriminator of its name, and each other discriminator with a generator."""
    generators, discriminators = REGISTRY.names("generator"), REGISTRY.names("discriminator")
    pairs = [(name, name) for name in generators if name in discriminators]
    pairs += [(name, discriminators[0]) for name in generators if name not in discriminators]
    return pairs + [(generators[0], name) for name in discriminators if name not in generators]


def small(kind, name):
    schema = REGISTRY.options(kind, name)
    return [f"{kind}.{option}={value}" for option, value in SMALL.items() if option in schema]


def conditional(kind, name, way):
    schema = REGISTRY.options(kind, name)
    choices = getattr(schema["conditioning"].annotation, "__args__", ()) if "conditioning" in schema else ()
    return [f"{kind}.conditioning={way}"] if way in choices else []


def train_two_steps(generator, discriminator, loss, regularizer, extra):
    """Scalars of the second step, and whether the generator changed."""
    settings = [f"generator.name={generator}", f"discriminator.name={discriminator}", f"loss.name={loss}"]
    settings += ["training.batch=4", *small("generator", generator), *small("discriminator", discriminator), *extra]
    penalties = [f"{regularizer}:weight=1"] if regularizer else []
    config = resolve(REGISTRY, {"recipe": "dcgan"}, *load_layers(None, None, penalties, settings))
    state = build_state(config, REGISTRY, IMAGES, torch.device("cpu"))
    before = [parameter.clone() for parameter in state.generator.parameters()]
    for index in range(2):
        torch.manual_seed(index)
        real, latents, labels = (
            torch.rand(4, 1, 8, 8) * 2 - 1,
            torch.randn(4, state.generator.z_dim),
            torch.arange(4) % 2,
        )
        state.apply_schedules(config.optimizer)
        fake = state.generator(latents, labels)
        row = step_discriminator(state, [(Batch(real, latents, labels), fake)], index)
        row |= step_generator(state, [(Batch(real, latents, labels), fake)], index)
    moved = any(not torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))
    return row, moved


def combinations():
    """Return all; those beyond a sixth, which has every pair of architecture, loss and regularizer, are exhaustive."""
    losses, regularizers = REGISTRY.names("loss"), [None, *REGISTRY.names("regularizer")]
    found = []
    for (a, pair), (b, loss), (c, regularizer) in product(*map(enumerate, (architectures(), losses, regularizers))):
        chosen = (a + b + c) % len(losses) == 0 or (regularizer == "path-length" and pair[0] in STYLED)
        found.append(pytest.param(*pair, loss, regularizer, marks=[] if chosen else pytest.mark.exhaustive))
    return found


@pytest.mark.parametrize(("generator", "discriminator", "loss", "regularizer"), combinations())
def test_every_combination_trains(generator, discriminator, loss, regularizer):
    for way in ("none", "input"):
        extra = conditional("generator", generator, way) + conditional("discriminator", discriminator, way)
        if regularizer in NEEDS:
            extra = conditional("discriminator", discriminator, NEEDS[regularizer][1])
            if not extra:
                pytest.skip(f"{discriminator} has no classifier")
        if regularizer == "path-length" and generator not in STYLED:
            pytest.skip(f"{generator} has no styles")
        row, moved = train_two_steps(generator, discriminator, loss, regularizer, extra)
        assert all(value.isfinite() for value in row.values()), row
        assert moved


@pytest.mark.parametrize("augmentation", REGISTRY.names("augmentation"))
@pytest.mark.parametrize(("generator", "discriminator"), architectures())
def test_every_augmentation_trains_with_a_penalty_by_the_examples(generator, discriminator, augmentation):
    settings = [f"augmentations.{augmentation}.probability=0.5"]
    row, moved = train_two_steps(generator, discriminator, "nonsat", "r1", settings)
    assert all(value.isfinite() for value in row.values()), row
    assert row["discriminator/r1"] >= 0
    assert moved
