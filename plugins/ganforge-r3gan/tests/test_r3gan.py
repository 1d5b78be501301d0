"""R3GAN: the networks are the paper's, and its recipes train."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from ganforge import DataSpec
from ganforge.config.schema import resolve
from ganforge.plugins.registry import Registry
from ganforge.testing import check_discriminator, check_generator

from ganforge_r3gan import R3GANDiscriminator, R3GANGenerator
from ganforge_r3gan.blocks import Block

FFHQ = DataSpec((3, 256, 256))
LABELLED = DataSpec((3, 8, 8), ("cat", "dog", "owl"))


@pytest.mark.parametrize(("shape", "options"), [
    ((3, 16, 16), {"width": 16}), ((1, 64, 64), {"width": 8, "group_width": 4, "expansion": 3, "blocks": 1}),
    ((3, 12, 20), {"width": 32, "border": "zero", "wide_sizes": 1}),
])  # fmt: skip
def test_the_networks_keep_the_contract(shape, options):
    check_generator(R3GANGenerator, DataSpec(shape), **options)
    check_discriminator(R3GANDiscriminator, DataSpec(shape), **options)


def test_the_networks_take_classes():
    check_generator(R3GANGenerator, LABELLED, width=16, conditioning="input")
    check_discriminator(R3GANDiscriminator, LABELLED, width=16, conditioning="projection")


def test_at_the_papers_widths_there_are_as_many_parameters_as_in_the_paper():
    with torch.device("meta"):
        networks = R3GANGenerator(FFHQ, width=768), R3GANDiscriminator(FFHQ, width=768)
    counts = [sum(each.numel() for each in network.parameters()) for network in networks]
    assert [round(count / 1e6, 2) for count in counts] == [23.06, 23.01]  # table 2, config E


def test_a_block_begins_as_the_identity_and_computes_what_its_formula_says():
    torch.manual_seed(0)
    block = Block(4, expansion=2, group_width=2, num_blocks=16).double()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64)
    assert torch.equal(block(x), x)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    widen, first, mix, second, narrow = block.layers

    def act(maps, layer):
        maps = maps + layer.bias.detach().numpy()[None, :, None, None]
        return np.where(maps > 0, maps, 0.2 * maps)

    maps = act(np.einsum("oi,nihw->nohw", widen.weight.detach().numpy()[:, :, 0, 0], x.numpy()), first)
    padded = np.pad(maps, ((0, 0), (0, 0), (1, 1), (1, 1)))
    mixed = np.zeros_like(maps)
    kernel = mix.weight.detach().numpy()
    for out in range(8):
        for offset in range(2):
            for row in range(3):
                for column in range(3):
                    seen = padded[:, out // 2 * 2 + offset, row : row + 5, column : column + 5]
                    mixed[:, out] += kernel[out, offset, row, column] * seen
    expected = x.numpy() + np.einsum("oi,nihw->nohw", narrow.weight.detach().numpy()[:, :, 0, 0], act(mixed, second))
    np.testing.assert_allclose(block(x).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2])
def test_layers_begin_as_fixup_says(blocks):
    torch.manual_seed(0)
    network = R3GANDiscriminator(DataSpec((3, 32, 32)), width=256, blocks=blocks)
    gain = (2 / 1.04) ** 0.5 * (4 * blocks) ** -0.25
    for block in (each for each in network.modules() if isinstance(each, Block)):
        for layer, fan_in in ((block.layers[0], 256), (block.layers[2], 9 * 16)):
            assert layer.weight.std().item() == pytest.approx(gain * fan_in**-0.5, rel=0.02)


@pytest.mark.parametrize(("shape", "options", "said"), [
    ((3, 25, 25), {}, "use --resolution 24"), ((2,), {}, "--arch mlp"),
    ((3, 32, 32), {"width": 20}, "not a multiple of group_width=16"),
    ((3, 32, 32), {"blocks": 0}, "must be at least 1"),
])  # fmt: skip
def test_what_cannot_be_built_is_said(shape, options, said):
    for network in (R3GANGenerator, R3GANDiscriminator):
        with pytest.raises(ValueError, match=said):
            network(DataSpec(shape), **options)


@pytest.mark.parametrize("recipe", ["r3gan", "r3gan-cifar10", "r3gan-ffhq64", "r3gan-ffhq256"])
def test_a_recipe_is_relativistic_with_both_penalties_in_every_step(recipe):
    config = resolve(Registry.installed(), {"recipe": recipe})
    assert config.loss.name == "rpgan"
    assert [(each.name, each.every) for each in config.regularizers] == [("r1", 1), ("r2", 1)]
    assert config.regularizers[0].weight == config.regularizers[1].weight
    rates = config.optimizer["generator"]
    for schedule in (config.regularizers[0].weight, rates.options["beta2"], rates.lr):
        assert schedule.shape == "cosine"


@pytest.mark.slow
def test_a_run_trains_goes_on_and_exports(tmp_path):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8))

    def ganforge(*arguments):
        command = [sys.executable, "-m", "ganforge", *arguments]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert told.returncode == 0, told.stderr
        return told.stdout.strip()

    small = ["--set", "generator.width=16", "--set", "discriminator.width=16", "--batch", "8", "--engine", "eager"]
    ganforge("train", "--arch", "r3gan", "--data", "images.npy", "--images", "16", "--device", "cpu", *small)
    run = tmp_path / ganforge("train", "--resume", "--images", "32")
    row = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"discriminator/r1", "discriminator/r2", "discriminator/loss", "generator/loss"} <= row.keys()
    ganforge("export", "--torchscript")
    generator = torch.jit.load(run / "export" / "generator.pt")
    assert generator(torch.randn(2, 64)).shape == (2, 3, 16, 16)
