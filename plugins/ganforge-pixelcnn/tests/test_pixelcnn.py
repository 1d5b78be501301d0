"""The network, its distribution, and a run."""

import json
import os
import subprocess
import sys

import ganforge
import numpy as np
import pytest
import torch
from ganforge import DataSpec, Pair, Step
from ganforge.testing import check_generator, check_recipe
from PIL import Image

import ganforge_pixelcnn
from ganforge_pixelcnn import Likelihood, PixelCNN


def make(channels, height=7, width=6, **options):
    torch.manual_seed(0)
    network = PixelCNN(DataSpec((channels, height, width)), width=4, blocks=2, mixtures=3, **options).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    return network


def levels():
    return torch.arange(256, dtype=torch.float64) / 127.5 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_pixel_depends_on_all_before_it_and_on_no_other(channels):
    network = make(channels)
    images = (2 * torch.rand(1, channels, 7, 6, dtype=torch.float64) - 1).requires_grad_()
    (gradient,) = torch.autograd.grad(network.predict(images)[0, :, 3, 2].sum(), images)
    seen = gradient.abs().sum((0, 1)) > 0
    before = torch.arange(42).view(7, 6) < 3 * 6 + 2
    assert torch.equal(seen, before)


@pytest.mark.parametrize("channels", [1, 3])
def test_drawing_with_caches_is_drawing_with_the_whole_network(channels):
    network = make(channels)
    z = torch.randn(3, network.z_dim, dtype=torch.float64)
    uniform = (torch.erf(z * 0.5**0.5) / 2 + 0.5).view(3, 7, 6, 1 + channels)
    expected = torch.zeros(3, channels, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        found = network(z)
        for y in range(7):
            for x in range(6):
                parameters = network.predict(expected)[:, :, y, x]
                expected[:, :, y, x] = network.mixture.draw(parameters, uniform[:, y, x])
    assert torch.allclose(found, expected, atol=1e-9)
    assert (found[..., None] - levels()).abs().amin(-1).max() < 1e-9


def test_the_chances_of_all_levels_sum_to_one():
    mixture = make(1).mixture
    maps = (3 * torch.randn(1, mixture.num_parameters, 1, 1, dtype=torch.float64)).expand(256, -1, -1, -1)
    chances = 2.0 ** -mixture.bits(maps, levels().view(256, 1, 1, 1))
    assert chances.sum().item() == pytest.approx(1, abs=1e-9)


def test_the_chances_of_all_colors_sum_to_one():
    mixture = make(3).mixture
    maps = torch.randn(1, mixture.num_parameters, 1, 1, dtype=torch.float64)
    some = levels()[::5]  # of the third channel all, given some of the others
    for red, green in ((some[3], some[20]), (some[40], some[51])):
        pixels = torch.stack([red.expand(256), green.expand(256), levels()], dim=1)[:, :, None, None]
        bits = 3 * mixture.bits(maps.expand(256, -1, -1, -1), pixels)
        shares = 2.0**-bits
        logits, means, log_scales, coefficients = mixture.split(maps)

        # The chance of both without the third channel, mixture by mixture.
        def chance(x, mean, log_scale):
            above, below = (float("inf") if edge else 1 / 255 for edge in (x == 1, x == -1))
            return torch.sigmoid((x + above - mean) / log_scale.exp()) - torch.sigmoid(
                (x - below - mean) / log_scale.exp()
            )

        of_red = chance(red, means[0, 0], log_scales[0, 0])
        of_green = chance(green, means[0, 1] + coefficients[0, 0] * red, log_scales[0, 1])
        expected = (logits[0].softmax(0) * of_red * of_green).sum()
        assert shares.sum().item() == pytest.approx(expected.item(), rel=1e-9)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_drawn_has_the_chances_of_the_distribution(channels):
    mixture = make(channels).mixture
    maps = torch.randn(1, mixture.num_parameters, dtype=torch.float64).expand(20_000, -1)
    drawn = mixture.draw(maps, torch.rand(20_000, 1 + channels, dtype=torch.float64))
    # By the law of large numbers, the mean code length is the entropy; so it is for a second sample of the same size.
    bits = mixture.bits(maps[:, :, None, None], drawn[:, :, None, None])
    first = drawn[:, 0]
    if channels == 1:
        every = levels()
        entropy_of = mixture.bits(maps[:1, :, None, None].expand(256, -1, -1, -1), every.view(256, 1, 1, 1))
        shares = 2.0**-entropy_of
        found = torch.stack([(first - level).abs().lt(1e-6).double().mean() for level in every])
        assert (found - shares).abs().sum() < 0.1
        assert bits.mean().item() == pytest.approx((shares * entropy_of).sum().item(), abs=0.05)
    assert bits.isfinite().all()


def test_bits_are_finite_at_any_parameters():
    mixture = make(3).mixture
    maps = 1000 * torch.randn(50, mixture.num_parameters, 2, 2)
    images = 2 * torch.rand(50, 3, 2, 2).round() - 1
    maps.requires_grad_()
    bits = mixture.bits(maps, images)
    bits.sum().backward()
    assert bits.isfinite().all()
    assert maps.grad.isfinite().all()


def test_the_network_passes_the_checks_and_is_exported():
    check_generator(PixelCNN, DataSpec((1, 6, 5)), width=4, blocks=1, mixtures=2)


def test_images_of_other_channels_and_other_generators_are_refused():
    with pytest.raises(ValueError, match="images with 1 or 3 channels"):
        PixelCNN(DataSpec((2, 8, 8)))
    images = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="needs the generator pixelcnn"):
        Likelihood().generator(Step(None, None, images=Pair(images, images), latents=torch.zeros(1, 1)))


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_pixelcnn.ganforge_recipes()["pixelcnn"])


@pytest.mark.slow
def test_a_run_compresses_stripes_goes_on_draws_them_and_is_exported(tmp_path):
    (tmp_path / "stripes").mkdir()
    draw = np.random.default_rng(0)
    for index in range(64):
        row = draw.choice([20, 220], size=6).astype(np.uint8)
        Image.fromarray(np.tile(row, (6, 1))).save(tmp_path / "stripes" / f"{index}.png")

    def run(*words):
        place = {**os.environ, "GANFORGE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ganforge", *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    small = ["generator.width=8", "generator.blocks=2", "generator.mixtures=2", "optimizer.generator_lr=0.01"]
    small += [
        "training.tick_images=500",
        "optimizer.beta1=0.9",
        "optimizer.beta2=0.999",
        "training.threads=1",
        "training.ema_images=0",
    ]
    flags = [word for each in small for word in ("--set", each)]
    run("train", "--arch", "pixelcnn", "--data", "stripes", "--images", 3000, "--device", "cpu", *flags)
    run("train", "--resume", "--images", 6000)
    folder = tmp_path / "runs" / "00000-pixelcnn-stripes"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["generator/likelihood"] < 0.6 * rows[0]["generator/likelihood"]
    generator = ganforge.load(folder)
    images = ganforge.generate(generator, 16)
    assert (images[:, :, 1:] - images[:, :, :-1]).abs().mean() < 0.1 < images.std(dim=3).mean()
    run("export", folder, "--torchscript", "--to", "generator.pt")
    z = torch.randn(2, generator.z_dim)
    assert torch.allclose(torch.jit.load(str(tmp_path / "generator.pt"))(z), generator(z), atol=1e-5)
