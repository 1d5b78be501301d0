"""SNGAN and SAGAN: spectral norms are what they claim, attention computes its formula, recipes train."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from ganforge import DataSpec
from ganforge.testing import check_discriminator, check_generator, check_recipe

from ganforge_sngan import RECIPES, SNGANDiscriminator, SNGANGenerator
from ganforge_sngan.attention import SelfAttention

LABELLED = DataSpec((1, 16, 16), ("cat", "dog", "owl"))


@pytest.mark.parametrize(("shape", "options"), [((3, 16, 16), {}), ((1, 64, 64), {"attention": 16}), ((3, 12, 20), {})])
def test_the_networks_keep_the_contract(shape, options):
    check_generator(SNGANGenerator, DataSpec(shape), width=16, z_dim=8, spectral=bool(options), **without(options, 32))
    check_discriminator(SNGANDiscriminator, DataSpec(shape), width=16, **options)


def without(options, size):
    return dict.fromkeys(options, size)


def test_the_networks_take_classes():
    check_generator(SNGANGenerator, LABELLED, width=8, conditioning="norm")
    check_discriminator(SNGANDiscriminator, LABELLED, width=8, conditioning="projection")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_keeps_the_contract(recipe):
    check_recipe(RECIPES[recipe])


def test_the_papers_network_for_32_pixels_is_built():
    data = DataSpec((3, 32, 32))
    with torch.device("meta"):
        networks = SNGANGenerator(data), SNGANDiscriminator(data)
    linear = 128 * 256 * 16 + 256 * 16
    block = 4 * 256 + 2 * (256 * 256 * 9 + 256) + 256 * 256 + 256  # two norms, two 3x3, one 1x1
    assert sum(each.numel() for each in networks[0].parameters()) == linear + 3 * block + 512 + 256 * 27 + 3
    first = 3 * 128 * 9 + 128 + 128 * 128 * 9 + 128 + 3 * 128 + 128
    halving = 2 * (128 * 128 * 9 + 128) + 128 * 128 + 128
    keeping = 2 * (128 * 128 * 9 + 128)
    assert sum(each.numel() for each in networks[1].parameters()) == first + halving + 2 * keeping + 128 + 1


def test_every_weight_of_the_discriminator_has_a_largest_singular_value_of_one():
    torch.manual_seed(0)
    network = SNGANDiscriminator(DataSpec((3, 32, 32), ("a", "b")), width=16, attention=16, conditioning="projection")
    for _ in range(200):  # each look refines the power iteration
        network(torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    network.eval()
    weights = [each.weight for each in network.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)]
    weights.append(network.projection.weight)
    assert len(weights) > 10
    for weight in weights:
        values = np.linalg.svd(weight.detach().flatten(1).double().numpy(), compute_uv=False)
        assert values[0] == pytest.approx(1, abs=0.01)


def test_attention_begins_as_nothing_and_computes_its_formula():
    torch.manual_seed(0)
    layer = SelfAttention(8).double()
    x = torch.randn(2, 8, 4, 6, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    layer.eval()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
        found = layer(x).numpy()

    def project(name, maps):
        return np.einsum("oc,nchw->nohw", getattr(layer, name).weight.detach().numpy()[:, :, 0, 0], maps)

    def halve(maps):
        return maps.reshape(*maps.shape[:2], 2, 2, 3, 2).max((3, 5))

    keys, values = halve(project("key", x.numpy())), halve(project("value", x.numpy()))
    queries = project("query", x.numpy())
    expected = np.array(x.numpy())
    for n in range(2):
        for row in range(4):
            for column in range(6):
                scores = np.array([queries[n, :, row, column] @ keys[n, :, i, j] for i in range(2) for j in range(3)])
                weights = np.exp(scores) / np.exp(scores).sum()
                seen = sum(w * values[n, :, k // 3, k % 3] for k, w in enumerate(weights))
                expected[n, :, row, column] += 0.7 * project("output", seen[None, :, None, None])[0, :, 0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize(("shape", "options", "said"), [
    ((3, 10, 10), {}, "use --resolution 12"), ((2,), {}, "--arch mlp"), ((3, 32, 32), {"width": 12}, "multiple of 8"),
    ((3, 32, 32), {"attention": 5}, "no maps have that size"),
])  # fmt: skip
def test_what_cannot_be_built_is_said(shape, options, said):
    for network in (SNGANGenerator, SNGANDiscriminator):
        with pytest.raises(ValueError, match=said):
            network(DataSpec(shape), **options)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["sngan-projection", "sagan"])
def test_a_run_trains_goes_on_and_exports(tmp_path, recipe):
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(20):
            from PIL import Image

            Image.effect_noise((32, 32), 10 + index).convert("RGB").save(tmp_path / "photos" / name / f"{index}.png")

    def ganforge(*arguments):
        command = [sys.executable, "-m", "ganforge", *arguments]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    small = ["--set", "generator.width=16", "--set", "discriminator.width=16", "--batch", "8", "--engine", "eager"]
    ganforge("train", "--arch", recipe, "--data", "photos", "--images", "40", "--device", "cpu", *small)
    run = tmp_path / ganforge("train", "--resume", "--images", "80")
    ganforge("export", "--torchscript")
    generator = torch.jit.load(run / "export" / "generator.pt")
    labels = torch.tensor([0, 1]) if recipe == "sngan-projection" else None
    assert generator(torch.randn(2, 128), labels).shape == (2, 3, 32, 32)
