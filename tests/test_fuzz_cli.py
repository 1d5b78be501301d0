"""Whatever stands behind `ganforge`, it ends well or with one line: no traceback, no hang, no gigabytes."""

import os
import urllib.error
import urllib.request

import numpy as np
import pytest
import typer
from fuzzing import NUMBERS, WORDS, call, fuzz, mutations, require_civil
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from ganforge import OptionError
from ganforge.cli import app
from ganforge.config.optimizers import OptimizerSettings
from ganforge.config.schema import TrainingConfig
from ganforge.plugins.options import coerce
from ganforge.plugins.registry import Registry

REGISTRY = Registry.installed()

SMALL = ["--arch=mlp", "--data=ring-8", "--set=data.count=64", "--batch=8", "--device=cpu"]
SMALL += ["--set=generator.hidden=8", "--set=discriminator.hidden=8"]

PICTURES = ["--data=photos", "--resolution=8", "--batch=4", "--device=cpu"]
PICTURES += ["--set=generator.width=4", "--set=discriminator.width=4"]


def leaves(command, names=()):
    if commands := getattr(command, "commands", None):
        for name, inner in commands.items():
            yield from leaves(inner, (*names, name))
    else:
        yield names, command


COMMANDS = {" ".join(names): command for names, command in leaves(typer.main.get_command(app))}


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A folder with a run, images and an archive; there is no network."""

    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("no route to host")

    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(urllib.request, "urlopen", offline)
        for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
            patch.setenv(name, str(folder))
        source = np.random.default_rng(0)
        for index in range(12):
            os.makedirs(f"photos/{index % 2}", exist_ok=True)
            pixels = source.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(f"photos/{index % 2}/{index}.png")
        for name, data in (("vectors", SMALL), ("pictures", PICTURES)):
            code, _, err = call("train", *data, "--images=16", "--engine=eager", f"--name={name}")
            assert code == 0, err
        yield folder


# A large data set is drawn if a user asks for it, however long that takes.
NAMES = sorted({part.name for part in REGISTRY.parts()} - {"avatars", "stacked-mnist"})
SETTINGS = [f"training.{name}" for name in TrainingConfig.__dataclass_fields__]
SETTINGS += [f"optimizer.{name}" for name in OptimizerSettings.__dataclass_fields__]
PLAIN = """
recipe data data.seed data.resolution data.source data.sigma data.root loss.name loss.smoothing generator.name
discriminator.name regularizers.r1 augmentations.flip a.b
"""
SETTINGS += PLAIN.split()
for kind, keys in (("regularizer", ["weight", "every", "decay"]), ("augmentation", ["probability", "policy"])):
    SETTINGS += [f"{kind}s.{name}.{key}" for name in REGISTRY.names(kind) for key in keys]
for player in ("generator", "discriminator"):
    SETTINGS += sorted({f"{player}.{key}" for name in REGISTRY.names(player) for key in REGISTRY.options(player, name)})

VALUES = st.one_of(NUMBERS, WORDS, st.sampled_from(NAMES), mutations(NAMES))
SCHEDULES = st.builds("{}:{}:{}:{}".format, st.sampled_from(["linear", "cosine", "quick"]), NUMBERS, NUMBERS, NUMBERS)
KEYS = st.one_of(st.sampled_from(SETTINGS), st.sampled_from(SETTINGS), mutations(SETTINGS), WORDS)
SET = st.builds("--set={}={}".format, KEYS, st.one_of(VALUES, SCHEDULES, st.lists(NUMBERS, max_size=4).map(",".join)))
PART = st.builds(
    "{}:{}={}".format, st.sampled_from(NAMES), st.sampled_from(["weight", "every", "probability"]), NUMBERS
)


COUNTS = ["--count", "--steps", "--samples", "--references", "--measure", "--candidates", "--draws", "--seconds"]
"""Numbers that take time: a million images are drawn if requested."""


def is_quick(text):
    """True if a number is processed quickly, or refused as too large."""
    try:
        return not 50 < coerce(text, float, "") < 1e12
    except OptionError:
        return True


def flags(name):
    """One argument of a command, by what the parser says of it."""
    command = COMMANDS[name]
    options = [each for each in command.params if each.param_type_name == "option"]
    valued = [name for each in options if not each.is_flag for name in each.opts]
    plain = [name for each in options if each.is_flag for name in each.opts if name != "--help"]
    choices = [st.sampled_from(plain)] if plain else []
    if counts := [each for each in valued if each in COUNTS]:
        choices.append(st.builds("{}={}".format, st.sampled_from(counts), NUMBERS.filter(is_quick)))
    if valued := [each for each in valued if each not in COUNTS]:
        given = st.builds("{}={}".format, st.sampled_from(valued), st.one_of(VALUES, PART, mutations(NAMES)))
        choices += [given, given, given, st.sampled_from(valued), mutations(valued)]
    return st.one_of(*choices, WORDS)


@fuzz(8)
@given(base=st.sampled_from([SMALL, PICTURES]), hostile=st.lists(SET, min_size=1, max_size=3))
@example(base=SMALL, hostile=["--set=generator.hidden=1000000000"])
@example(base=SMALL, hostile=["--set=generator.z_dim=1000000000000"])
@example(base=PICTURES, hostile=["--set=generator.width=1000000000", "--set=generator.max_width=1000000000"])
@example(base=PICTURES, hostile=["--set=recipe=stylegan2", "--set=generator.mapping_layers=1000000000"])
@example(base=SMALL, hostile=["--set=training.batch=1000000000000"])
@example(base=SMALL, hostile=["--set=training.samples=1000000000"])
@example(base=SMALL, hostile=["--set=data.count=1000000000000"])
@example(base=PICTURES, hostile=["--set=data.resolution=1000000"])
def test_settings(base, hostile):
    require_civil("train", "--dry-run", *base, *hostile)


@fuzz(8)
@given(base=st.sampled_from([[], SMALL, PICTURES]), hostile=st.lists(flags("train"), min_size=1, max_size=4))
def test_arguments_of_train(base, hostile):
    require_civil("train", *(base or ["--data=photos"]), "--dry-run", *hostile)


# Whole measurements are taken by these if nothing is wrong with what they are given, so something is.
LONG = {
    "bench": ["--arch=nothing"],
    "eval": ["--references=1"],
    "extractor train": ["--data=nothing"],
    "export": ["--set=x"],
    "sample": ["--to=x.png"],
}
POSITIONS = st.lists(st.one_of(WORDS, st.sampled_from(["0", "1", "00001-pictures", "photos", "dcgan"])), max_size=2)


@fuzz(20)
@given(name=st.sampled_from(sorted(COMMANDS.keys() - {"train"})), data=st.data())
def test_arguments_of_other_commands(name, data):
    arguments = data.draw(st.lists(flags(name), max_size=4))
    require_civil(*name.split(), *arguments, *LONG.get(name, []), *data.draw(POSITIONS))


@fuzz(8)
@given(st.lists(st.one_of(WORDS, st.sampled_from(sorted(COMMANDS)), mutations(sorted(COMMANDS))), max_size=4))
def test_words_that_are_no_command(words):
    require_civil(*words, "--nonsense")
