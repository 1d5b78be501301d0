"""The networks, the bound, and a run."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import ganforge
import numpy as np
import pytest
import torch
from ganforge import DataSpec, Pair, Step
from ganforge.testing import check_discriminator, check_generator, check_recipe, check_regularizer
from PIL import Image

import ganforge_infogan
from ganforge_infogan import CodeDiscriminator, CodeGenerator, Information, purity

CODES = {"categories": 3, "continuous": 1}


def pair(data, **codes):
    torch.manual_seed(0)
    codes = {**CODES, **codes}
    return CodeGenerator(data, width=4, noise=2, **codes), CodeDiscriminator(data, width=4, **codes)


@pytest.mark.parametrize("data", [DataSpec((1, 16, 16)), DataSpec((3, 12, 24))])
def test_the_parts_pass_the_checks(data):
    check_generator(CodeGenerator, data, width=4, noise=2, **CODES)
    reader = [f"reader.{index}.{name}" for index in (0, 2) for name in ("weight", "bias")]
    check_discriminator(CodeDiscriminator, data, width=4, only_regularized=reader, **CODES)
    generator, discriminator = pair(data)
    check_regularizer(Information, data, generator=generator, discriminator=discriminator)


def test_every_category_is_as_likely_and_a_given_one_replaces_it():
    generator, _ = pair(DataSpec((1, 16, 16)))
    z = torch.randn(30_000, generator.z_dim)
    category, numbers = generator.codes(z)
    assert (category.bincount() / 30_000).tolist() == pytest.approx([1 / 3] * 3, abs=0.02)
    assert torch.equal(numbers, z[:, 3:4])
    generator.eval()
    few = z[:50]
    whole = generator(few)
    for each in range(3):
        given = generator(few, category=each)
        assert torch.equal(given[category[:50] == each], whole[category[:50] == each])
        assert not torch.equal(given, whole)


def test_the_bound_is_the_entropy_when_nothing_is_read_and_zero_when_all_is():
    data = DataSpec((1, 16, 16))
    generator, discriminator = pair(data, continuous=0)
    z = torch.randn(12, generator.z_dim)
    images = generator(z)
    category, _ = generator.codes(z)

    def measure(read):
        discriminator.read = read
        step = Step(generator, discriminator, images=Pair(images, images), latents=z)
        return Information().discriminator(step).item(), step.logged["accuracy"].item()

    assert measure(lambda features: torch.zeros(12, 3))[0] == pytest.approx(math.log(3))
    loss, accuracy = measure(lambda features: 100 * torch.nn.functional.one_hot(category, 3).float())
    assert loss == pytest.approx(0, abs=1e-6)
    assert accuracy == 1


def test_networks_that_do_not_fit_each_other_are_told():
    data = DataSpec((1, 16, 16))
    generator, discriminator = pair(data)[0], pair(data, categories=4)[1]
    images = torch.zeros(2, 1, 16, 16)
    for other, told in ((discriminator, "equal categories"), (None, "use --arch infogan")):
        with pytest.raises(ValueError, match=told):
            Information().generator(
                Step(generator, other, images=Pair(images, images), latents=torch.zeros(2, generator.z_dim))
            )


def test_purity_is_the_share_of_the_most_frequent_class_of_each_category(monkeypatch):
    generator, _ = pair(DataSpec((1, 16, 16)))
    answers = iter((torch.zeros(500), torch.arange(500) > 99, torch.arange(500) > 249))
    classifier = SimpleNamespace(class_names=("a", "b"), predict=lambda images: next(answers).long())
    monkeypatch.setattr(purity, "load_classifier", lambda path: classifier)
    assert purity.describe_purity(generator.eval(), Path("digits.safetensors"), 0) == [
        "category 0  a  100.0%",
        "category 1  b  80.0%",
        "category 2  a  50.0%",
        "purity      76.7%, 2 of 2 classes",
    ]


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_infogan.ganforge_recipes()["infogan"])


@pytest.mark.slow
def test_a_run_learns_to_tell_kinds_apart_goes_on_and_draws_each(tmp_path):
    (tmp_path / "kinds").mkdir()
    draw = np.random.default_rng(0)
    for index in range(60):  # dark, gray and bright ones
        pixels = draw.integers(0, 40, (8, 8), dtype=np.uint8) + [0, 100, 210][index % 3]
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "kinds" / f"{index}.png")

    def run(*words, code=0):
        place = {**os.environ, "GANFORGE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ganforge", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    small = ["generator.categories=3", "generator.continuous=0", "generator.noise=4", "generator.width=8"]
    small += ["discriminator.categories=3", "discriminator.continuous=0", "discriminator.width=8"]
    flags = [word for each in [*small, "training.threads=1", "training.tick_images=1000"] for word in ("--set", each)]
    run("train", "--arch", "infogan", "--data", "kinds", "--images", 3000, "--device", "cpu", "--batch", 20, *flags)
    run("train", "--resume", "--images", 8000)
    folder = tmp_path / "runs" / "00000-infogan-nonsat-kinds"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["generator/information/accuracy"] > 0.95
    assert run("infogan", "--count", 5).stdout.strip() == "codes.png"
    assert b"seeds 0-4" in Image.open(tmp_path / "codes.png").info["xmp"]
    picture = np.asarray(Image.open(tmp_path / "codes.png"), dtype=float)
    assert picture.shape == (24, 40)
    shades = picture.reshape(3, 8, 5, 8).mean((1, 3))
    assert shades.std(1).max() < np.ptp(shades.mean(1)) / 4  # a row is of one kind
    assert "from 0 to 2" in run("infogan", "--code", 3, code=2).stderr
    run("export", folder, "--torchscript", "--to", "generator.pt")
    generator, z = ganforge.load(folder), torch.randn(4, 7)
    exported = torch.jit.load(str(tmp_path / "generator.pt"))
    assert torch.allclose(exported(z, None, 1), generator(z, None, 1), atol=1e-5)
