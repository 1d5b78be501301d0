"""The parts of the package, by the checks that ganforge offers and by what they do."""

import json
import math
import os
import subprocess
import sys

import ganforge
import numpy as np
import pytest
import torch
from ganforge import DataSpec, Pair, Step
from ganforge.testing import check_discriminator, check_generator, check_recipe
from PIL import Image
from torch import nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample

import ganforge_cyclegan
from ganforge_cyclegan import Cycle, Patches, Translator
from ganforge_cyclegan.affine import Affine


def sides(size=16, channels=3, source_channels=1):
    return DataSpec((channels, size, size), (), (source_channels, size, size))


@pytest.mark.parametrize("data", [sides(16), DataSpec((1, 8, 12), (), (3, 8, 12))])
def test_the_networks_pass_the_checks(data):
    check_generator(Translator, data, width=2, blocks=1)
    check_discriminator(Patches, data, width=4)


def test_a_translator_with_an_affine_map_passes_the_checks():
    check_generator(Translator, sides(8), width=2, blocks=1, affine=True)


def test_an_affine_map_starts_as_the_identity_and_can_rotate():
    network, images = Affine(), torch.rand(2, 3, 9, 12)
    assert torch.equal(network(images), images)
    smooth = avg_pool2d(torch.rand(1, 1, 41, 41, generator=torch.Generator().manual_seed(0)), 9, stride=1)
    cos, sin = math.cos(0.4), math.sin(0.4)
    with torch.no_grad():  # a pass along rows, then one along columns
        network.rows.copy_(torch.tensor([1 / cos - 1, -sin / cos, 0]) / network.speed)
        network.columns.copy_(torch.tensor([cos - 1, sin, 0]) / network.speed)
    grid = affine_grid(torch.tensor([[[cos, -sin, 0], [sin, cos, 0]]]), [1, 1, 33, 33], align_corners=True)
    rotated = grid_sample(smooth, grid, padding_mode="border", align_corners=True)
    error, change = ((each - rotated)[..., 8:25, 8:25].abs().mean() for each in (network(smooth), smooth))
    assert error < change / 10


def test_a_translator_learns_a_shift_by_its_affine_map():
    network, images = Affine(), avg_pool2d(torch.rand(8, 1, 24, 24, generator=torch.Generator().manual_seed(0)), 9, 1)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    for _ in range(100):
        optimizer.zero_grad()
        (network(images)[..., 3:-3, 3:-3] - images[..., 3:-3, 4:-2]).square().mean().backward()
        optimizer.step()
    assert network.speed * network.rows[2].item() * 7.5 == pytest.approx(1, abs=0.1)  # pixels
    assert network.columns.abs().max() < 0.01


def test_a_logit_depends_on_70_pixels():
    torch.manual_seed(0)
    network = Patches(sides(256), width=2)
    network.layers = nn.Sequential(*(each for each in network.layers if not isinstance(each, nn.InstanceNorm2d)))
    image = torch.randn(1, 3, 256, 256, requires_grad=True)
    network(image).view(30, 30)[15, 15].backward()
    reached = image.grad.abs().sum((0, 1)).nonzero()
    assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [70, 70]


class Half(nn.Module):
    """Returns a multiple of its input."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, z, labels):
        return self.factor * labels


def test_the_terms_are_those_of_the_paper(monkeypatch):
    monkeypatch.setattr(
        ganforge_cyclegan.cycle, "_others", lambda step: (step.networks["back"], step.networks["judge"])
    )
    real, source = torch.full((2, 1, 4, 4), 0.5), torch.full((2, 1, 4, 4), -0.25)
    there, back = Half(0.5), Half(0.8)
    networks = {"back": back, "judge": lambda images: images.mean((1, 2, 3))}
    step = Step(
        there,
        None,
        images=Pair(real, there(None, source)),
        latents=torch.zeros(2, 1),
        labels=source,
        networks=networks,
        compute=lambda function, *inputs: function(*inputs),
    )
    term = Cycle(sides(4, 1), cycle=10.0, identity=0.5)
    adversarial = (0.8 * 0.5 - 1) ** 2 / 2
    cycles = abs(0.8 * 0.5 * -0.25 + 0.25) + abs(0.5 * 0.8 * 0.5 - 0.5)
    identity = abs(0.5 * 0.5 - 0.5) + abs(0.8 * -0.25 + 0.25)
    assert term.generator(step).item() == pytest.approx(adversarial + 10 * (cycles + 0.5 * identity))
    assert term.discriminator(step).item() == pytest.approx(((-0.25 - 1) ** 2 + (0.8 * 0.5) ** 2) / 2)
    assert torch.equal(step.collected["fake"], 0.8 * real)


def test_a_pool_gives_earlier_images_to_half_of_the_batch():
    torch.manual_seed(0)
    term = Cycle(sides(4, 1), pool=3)
    new = torch.full((1000, 1, 4, 4), 9.0)
    assert torch.equal(term._mix(new), new)  # nothing is in the pool
    for number in range(5):
        term.update({"fake": torch.full((1, 1, 4, 4), float(number))})
        assert set(term._mix(new).unique().tolist()) == {9.0, *map(float, range(max(0, number - 2), number + 1))}
    assert term._mix(new).eq(9).float().mean() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(Cycle(sides(4, 1), pool=0)._mix(new), new)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Translator(DataSpec((3, 16, 16))), "add --set data.sources=FOLDER"),
        (lambda: Translator(DataSpec((3, 16, 16), (), (3, 8, 8))), "must have one size"),
        (lambda: Translator(sides(18)), "a multiple of 4"),
        (lambda: Cycle(DataSpec((3, 16, 16))), "add --set data.sources=FOLDER"),
        (lambda: Cycle(sides(), identity=0.5), "needs images of one shape"),
    ],
)
def test_data_that_do_not_fit_are_told(make, told):
    with pytest.raises(ValueError, match=told):
        make()


@pytest.fixture
def folders(tmp_path):
    """Seven dark images, and three bright ones."""
    draw = np.random.default_rng(0)
    for name, count, low in (("dark", 7, 0), ("bright", 3, 155)):
        (tmp_path / name).mkdir()
        for index in range(count):
            pixels = draw.integers(low, low + 100, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    return tmp_path


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_cyclegan.ganforge_recipes()["cyclegan"])


@pytest.mark.slow
def test_it_trains_goes_on_translates_both_ways_and_is_exported(folders):
    def run(*words):
        place = {**os.environ, "GANFORGE_CACHE": str(folders / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ganforge", *map(str, words)]
        done = subprocess.run(command, cwd=folders, env=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    small = ["generator.width=4", "generator.blocks=1", "networks.back.width=4", "networks.back.blocks=1"]
    small += ["discriminator.width=8", "networks.judge.width=8", "data.sources=dark"]
    flags = [word for each in [*small, "training.threads=1"] for word in ("--set", each)]
    run(
        "train",
        "--arch",
        "cyclegan",
        "--data",
        "bright",
        "--images",
        200,
        "--device",
        "cpu",
        "--engine",
        "eager",
        *flags,
    )
    run("train", "--resume", "--images", 1200)
    folder = folders / "runs" / "00000-cyclegan-lsgan-bright"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["generator/cycle/cycles"] < rows[0]["generator/cycle/cycles"]
    run("sample", folder, "--source", "dark", "--to", "there")
    run("sample", folder, "--network", "back", "--source", "bright", "--to", "back")
    there, back = (
        np.mean([np.asarray(Image.open(path)) for path in (folders / name).glob("*.png")]) for name in ("there", "back")
    )
    assert there > back + 50
    run("export", folder, "--network", "back", "--torchscript", "--to", "back.pt")
    source = torch.rand(2, 3, 16, 16) * 2 - 1  # instance norm of an even image would multiply its rounding errors
    exported = torch.jit.load(str(folders / "back.pt"))(torch.zeros(2, 1), source)
    generator = ganforge.load(folder / "generator-back.safetensors")
    assert torch.allclose(exported, ganforge.generate(generator, 2, labels=source), atol=1e-5)
