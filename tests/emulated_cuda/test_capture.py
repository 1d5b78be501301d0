"""Rules of CUDA graphs are checked without a GPU: what a step must not do is named with its line."""

import importlib
import re
from typing import ClassVar

import pytest
import torch
from test_engine import Rebinding

from ganforge import Discriminator, FeatureDiscriminator, Regularizer
from ganforge.plugins.registry import Registry
from ganforge.testing import check_cuda
from ganforge.testing.emulation.capture import explain_capture
from ganforge.testing.emulation.cases import CHECKED, Subject, find_subjects, place_part
from ganforge.testing.emulation.hooks import find_obstacle, run_apart

REGISTRY = Registry.installed()
RECIPES = [each for each in find_subjects(REGISTRY) if each.name.startswith("recipe")]
obstacle = find_obstacle()
pytestmark = pytest.mark.skipif(bool(obstacle), reason=obstacle)


class Plain(Regularizer):
    """Keeps logits near 0."""

    def discriminator(self, step):
        return step.logits.real.square().mean()


class Waiting(Plain):
    """Reads a value of the device."""

    def discriminator(self, step):
        return super().discriminator(step) * float(step.logits.real.mean().item() > 0)


class Counting(Plain):
    """Computes with a number that changes from step to step, and is no attribute of a module."""

    steps: ClassVar[list[int]] = []

    def discriminator(self, step):
        self.steps.append(1)
        return super().discriminator(step) * 0.5 ** len(self.steps)


class Seeded(Plain):
    """Draws from a generator of its own."""

    def discriminator(self, step):
        source = torch.Generator("cpu")
        return super().discriminator(step) + torch.rand((), generator=source).to(step.latents)


class Reading(Plain):
    """Reads the number of images."""

    def discriminator(self, step):
        return super().discriminator(step) * min(1.0, step.images_seen / 1e6 + 1)


class Holding(Plain):
    """Keeps a step's graph until the garbage collector runs."""

    def discriminator(self, step):
        value = super().discriminator(step)
        self.cycle = {"value": value}
        self.cycle["self"] = self.cycle
        return value


class Mixing(Plain):
    """Makes a tensor on the CPU."""

    def discriminator(self, step):
        return (step.logits.real - torch.zeros(len(step.logits.real))).square().mean()


class Viewing(FeatureDiscriminator):
    """Flattens maps by a view, which channels_last does not allow."""

    def __init__(self, data):
        super().__init__()
        self.layers = torch.nn.Conv2d(data.shape[0], 4, 3, padding=1)
        self.judge = torch.nn.Linear(4 * data.shape[1] * data.shape[2], 1)

    def features(self, images, labels=None):
        maps = self.layers(images)
        return maps.view(len(maps), -1)

    def head(self, features, labels=None):
        return self.judge(features).squeeze(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Waiting, r"test_capture.py:\d+: _local_scalar_dense waits for the device"),
        (Seeded, r"test_capture.py:\d+"),
        (Mixing, r"test_capture.py:\d+: (zeros makes a tensor on the CPU|sub mixes devices)"),
        (Viewing, "bfloat16, train: .*view"),
    ],
)
def test_what_fails_or_waits_on_cuda_is_named(part, message):
    with pytest.raises(AssertionError, match=message):
        check_cuda(part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Waiting, r"test_capture.py:\d+: _local_scalar_dense waits for the device"),
        (Counting, r"test_capture.py:\d+: mul computes with a Python number that changes"),
        (Rebinding, "regularizer.checked.mean is replaced"),
        (Reading, "step.images_seen"),
        (Holding, "autograd graph of the discriminator"),
    ],
)
def test_what_a_graph_cannot_capture_is_named(part, message):
    subject = Subject(CHECKED, place_part("regularizer", CHECKED, {}))
    assert re.search(message, explain_capture(subject, "float32", ("regularizer", part)))


class Wide(Discriminator):
    """Has an option that allows few values."""

    def __init__(self, data, *, width: int = 8):
        super().__init__()
        if width % 8:
            raise ValueError(f"width={width} must be a multiple of 8")
        self.layers = torch.nn.Conv2d(data.shape[0], width, 3)

    def forward(self, images, labels=None):
        return self.layers(images).mean((1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(("part", "options"), [(Plain, {}), (Wide, {}), (Wide, {"width": 16})])
def test_a_part_that_obeys_passes_with_the_options_of_its_author(part, options):
    check_cuda(part, **options)


RECIPES = [each for each in find_subjects(REGISTRY) if each.name.startswith("recipe")]


@pytest.mark.parametrize("subject", [
    pytest.param(each, id=each.name, marks=pytest.mark.slow if "dcgan" in each.name else pytest.mark.exhaustive)
    for each in RECIPES
])  # fmt: skip
def test_steps_of_every_recipe_can_be_captured(subject):
    found = explain_capture(subject, "bfloat16")
    if subject.name == "recipe mixture":  # the weights of its penalties follow a schedule
        assert "terms.py" in found
    else:
        assert found == ""


@pytest.mark.slow
def test_a_module_that_is_imported_after_the_process_began_is_found_in_it(tmp_path, monkeypatch):
    assert run_apart(abs, -1) == 1
    (tmp_path / "module_of_later.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run_apart(importlib.import_module("module_of_later").answer) == 42
