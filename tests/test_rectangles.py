"""Images of any height and width: the sizes of maps, the networks, and a run from data to exported files."""

import hashlib
import json
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge import DataSpec, NoiseInjection, map_sizes
from ganforge.builtin.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.builtin.pggan import PGGANDiscriminator, PGGANGenerator
from ganforge.builtin.stylegan import StyleGANDiscriminator, StyleGANGenerator
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.layers.map_sizes import nearest_size
from ganforge.testing import check_discriminator, check_generator

SMALL = {"width": 4, "max_width": 8}
CLOSENESS = {"minibatch": "discrimination"}
STYLES = SMALL | {"z_dim": 5, "w_dim": 6, "mapping_layers": 1}
STAGES = {"growing": True, "start_resolution": 4, "stage_images": 10, "fade_images": 4}
PLAYERS = {
    "dcgan": (DCGANGenerator, SMALL, DCGANDiscriminator, SMALL),
    "dcgan-nearest": (DCGANGenerator, SMALL | {"upsampling": "nearest"}, DCGANDiscriminator, SMALL | CLOSENESS),
    "pggan": (PGGANGenerator, SMALL | {"z_dim": 5, "growing": False}, PGGANDiscriminator, SMALL | {"growing": False}),
    "pggan-growing": (PGGANGenerator, SMALL | STAGES | {"z_dim": 5}, PGGANDiscriminator, SMALL | STAGES),
    "stylegan": (StyleGANGenerator, STYLES, StyleGANDiscriminator, SMALL | {"minibatch": "deviation"}),
    "stylegan-growing": (StyleGANGenerator, STYLES | STAGES, StyleGANDiscriminator, SMALL | STAGES),
    "stylegan2": (StyleGAN2Generator, STYLES, StyleGAN2Discriminator, SMALL | {"minibatch": "deviation"}),
}  # fmt: skip
SIZES, CHANNELS = [(48, 64), (96, 64), (64, 32)], [1, 3, 6]
SLICE = [(name, SIZES[index % 3], CHANNELS[(index + index // 3) % 3]) for index, name in enumerate(PLAYERS)]
"""Every network, size and number of channels, and each network with one pair of them."""

# The sizes of maps.


@pytest.mark.parametrize(
    ("size", "smallest", "doublings"),
    [
        ((8, 8), (4, 4), 1), ((1024, 1024), (4, 4), 8), ((48, 64), (3, 4), 4), ((96, 64), (6, 4), 4),
        ((64, 32), (8, 4), 3), ((80, 112), (5, 7), 4), ((28, 28), (7, 7), 2), ((576, 1024), (9, 16), 6),
    ],
)  # fmt: skip
def test_maps_halve_while_both_edges_are_even_and_three_pixels_stay(size, smallest, doublings):
    sizes = map_sizes(DataSpec((3, *size)))
    assert (sizes[0], sizes[-1], len(sizes)) == (smallest, size, doublings + 1)
    assert all((high, wide) == (2 * h, 2 * w) for (h, w), (high, wide) in pairwise(sizes))


@pytest.mark.parametrize(
    ("size", "limits", "nearest"),
    [
        ((190, 250), {}, "256x192"), ((218, 178), {}, "176x224"), ((1080, 1920), {"largest": 1024}, "1024x576"),
        ((100, 100), {}, "96"), ((2048, 2048), {"largest": 1024}, "1024"), ((5, 7), {}, "8x6"),
        ((8, 8), {"doublings": 2}, "12"), ((33, 33), {}, "32"), ((16, 1000), {}, "256x48"),
    ],
)  # fmt: skip
def test_other_sizes_are_refused_in_one_line_with_the_nearest_that_is_valid(size, limits, nearest):
    with pytest.raises(ValueError, match=f"images are {size[1]}x{size[0]}, .*; use --resolution {nearest}$") as caught:
        map_sizes(DataSpec((3, *size)), **limits)
    assert "\n" not in str(caught.value)
    assert map_sizes(DataSpec((3, *nearest_size(*size, **limits))), **limits)


def test_the_nearest_size_of_a_valid_one_is_itself():
    for size in [(26, 26), (48, 64), (20, 30), (64, 64)]:
        assert nearest_size(*size) == size


# The networks.


def judge(name, size, channels):
    torch.manual_seed(0)
    data = DataSpec((channels, *size))
    generator, options, discriminator, others = PLAYERS[name]
    generator, discriminator = generator(data, **options), discriminator(data, **others)
    for images in (0, 12, 10**6) if "growing" in name else (None,):
        if images is not None:
            generator.grow(images)
            discriminator.grow(images)
        made = generator(torch.randn(2, generator.z_dim))
        assert made.shape == (2, channels, *size)
        assert discriminator(made).shape == (2,)
        discriminator(made).sum().backward()
    for module in generator.modules():
        if isinstance(module, NoiseInjection):
            assert module.fixed.shape[2] * size[1] == module.fixed.shape[3] * size[0]


@pytest.mark.parametrize(("name", "size", "channels"), SLICE)
def test_a_generator_draws_any_size_and_a_discriminator_judges_it(name, size, channels):
    judge(name, size, channels)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "size", "channels"), list(product(PLAYERS, SIZES, CHANNELS)))
def test_all_sizes_and_channels_are_drawn_and_judged(name, size, channels):
    judge(name, size, channels)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "size", "channels"), SLICE)
def test_networks_for_rectangles_pass_the_checks_of_plugin_authors(name, size, channels):
    generator, options, discriminator, others = PLAYERS[name]
    wider = {"width": 8, "max_width": 16}  # pixel norm of 4 channels enlarges rounding to the tolerance of the check
    check_generator(generator, DataSpec((channels, *size)), **options | wider)
    check_discriminator(discriminator, DataSpec((channels, *size)), **others)


LAYOUTS = {
    "dcgan": "3647c99b ecabfcd0",
    "dcgan-nearest": "e17cbe85 2966d234",
    "pggan": "3f3c78f9 b6463991",
    "pggan-growing": "64dfb372 82887c1f",
    "stylegan": "8f3c8d1b 42521862",
    "stylegan-growing": "3e7cbbce 64fb1330",
    "stylegan2": "cc296a75 496b94b3",
}
"""Digests of names and shapes of the weights of a generator and a discriminator for 32 pixels."""


@pytest.mark.parametrize("name", PLAYERS)
def test_names_and_shapes_of_the_weights_for_squares_are_those_of_earlier_files(name):
    data, found = DataSpec((3, 32, 32)), []
    generator, options, discriminator, others = PLAYERS[name]
    for network in (generator(data, **options), discriminator(data, **others)):
        layout = [(key, *value.shape) for key, value in network.state_dict().items()]
        found.append(hashlib.sha256(repr(layout).encode()).hexdigest()[:8])
    assert found == LAYOUTS[name].split()


@pytest.mark.parametrize("conditioning", ["input", "projection", "auxiliary", "joint"])
def test_a_conditional_discriminator_judges_rectangles(conditioning):
    data = DataSpec((3, 24, 32), ("cat", "dog"))
    check_discriminator(DCGANDiscriminator, data, **SMALL, conditioning=conditioning)


@pytest.mark.parametrize(("images", "size"), [(0, (3, 4)), (14, (6, 8)), (10**6, (48, 64))])
def test_stages_of_a_rectangle_keep_its_shape(images, size):
    torch.manual_seed(0)
    generator = PGGANGenerator(DataSpec((1, 48, 64)), **PLAYERS["pggan-growing"][1])
    generator.grow(images)
    made = generator(torch.randn(1, 5)).detach()
    factor = 48 // size[0]
    small = made[:, :, ::factor, ::factor]
    assert small.shape[2:] == size
    assert torch.equal(small.repeat_interleave(factor, 2).repeat_interleave(factor, 3), made)
    assert torch.allclose(generator.coarsen(made), made, atol=1e-6)
    assert len(small.unique()) > size[0] * size[1] // 2


# A run.


def rectangles(folder, count=12):
    """Write pictures of 24 x 16 pixels, wide ones."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 24, 3), dtype=np.uint8)
    for index, each in enumerate(pixels):
        Image.fromarray(each).save(folder / f"{index}.png")
    return folder


TINY = [
    *("--device", "cpu", "--engine", "eager", "--batch", "4", "--set", "training.samples=4"),
    *("--set", "training.tick_images=8", "--set", "generator.width=4", "--set", "discriminator.width=4"),
]


def test_pictures_of_one_size_keep_it_from_training_to_the_exported_file(run, here):
    rectangles(here / "wide")
    flags = ["train", "--arch", "dcgan", "--data", "wide", *TINY]
    assert run(*flags, "--images", "8", "--name", "whole")[0] == 0
    assert run(*flags, "--images", "4", "--name", "broken")[0] == 0
    assert run("train", "--resume", "1", "--images", "8")[0] == 0
    whole, broken = sorted((here / "runs").iterdir())
    assert (whole / "generator.safetensors").read_bytes() == (broken / "generator.safetensors").read_bytes()
    with Image.open(whole / "samples" / "000000008.png") as picture:
        assert picture.size == (2 * 24 + 2, 2 * 16 + 2)
    assert run("sample", "1", "--count", "6", "--to", "six.png")[0] == 0
    with Image.open("six.png") as picture:
        assert picture.size == (3 * 24 + 4, 2 * 16 + 2)
    code, _, err = run("export", "1", "--torchscript", "--to", "generator.pt")
    assert code == 0, err
    texts = {"ganforge.json": ""}
    network = torch.jit.load("generator.pt", _extra_files=texts)
    assert network(torch.randn(2, 100)).shape == (2, 3, 16, 24)
    assert json.loads(texts["ganforge.json"])["output"]["shape"] == ["N", 3, 16, 24]


@pytest.mark.exhaustive
def test_all_commands_take_a_run_on_rectangles(run, here):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 6, 8, 3), dtype=np.uint8)
    for kind, images in zip(("cat", "dog"), pixels, strict=True):
        (here / "photos" / kind).mkdir(parents=True)
        images[..., ("cat", "dog").index(kind)] = 255
        for index, each in enumerate(images):
            Image.fromarray(each).resize((80, 64)).save(here / "photos" / kind / f"{index}.png")
    augments = [each for name in ("ada", "diffaugment", "flip") for each in ("--augment", name)]
    classes = ["generator.conditioning=input", "discriminator.conditioning=projection", "generator.mapping_layers=1"]
    settings = [each for setting in classes for each in ("--set", setting)]
    flags = ["train", "--arch", "stylegan2", "--data", "photos", "--resolution", "32x24", "--images", "16"]
    drawn = ["--extractor", "classifier", "--samples", "100"]
    commands = [
        [*flags, *TINY, *augments, *settings],
        ["explore", "walk", "--to", "walk.gif"], ["explore", "mix"], ["explore", "truncation"], ["explore", "noise"],
        ["explore", "directions"], ["explore", "project", "--image", "photos/cat/0.png", "--steps", "2"],
        ["export", "--torchscript", "--onnx"],
        ["eval", "--modes", "--memorization", *drawn],
        ["eval", "runs/00000-stylegan2-nonsat-photos/export/generator.pt", "--fid", *drawn],
        ["report"],
    ]  # fmt: skip
    for command in commands:
        code, _, err = run(*command)
        assert code == 0, (command, err)
    with Image.open("walk.gif") as walk:
        assert walk.width * 24 == walk.height * 32
