"""The parts of the package, by the checks that ganforge offers and by what they do."""

import json
import os
import subprocess
import sys

import ganforge
import numpy as np
import pytest
import torch
from ganforge import DataError, DataSpec, OptionError, Pair, Step
from ganforge.testing import check_dataset, check_discriminator, check_generator, check_recipe, check_regularizer
from PIL import Image

import ganforge_pix2pix
from ganforge_pix2pix import L1, Outlines, PairFolder, PatchGAN, UNet
from ganforge_pix2pix.outlines import draw_outlines

SMALL = {"width": 4, "max_width": 8}


def pairs(size=16, channels=3, source_channels=1):
    return DataSpec((channels, size, size), (), (source_channels, size, size))


# ---- networks ----


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (pairs(16), {}),
        (pairs(32, 1, 3), {"normalization": "instance"}),
        (pairs(64), {"dropout": 0.0}),
        (DataSpec((3, 24, 32), (), (1, 24, 32)), {}),
    ],
)
def test_the_u_net_passes_the_checks_and_is_exported(data, options):
    check_generator(UNet, data, **SMALL, **options)


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256])
def test_the_u_net_goes_down_to_one_pixel_and_up_again_at_every_size(size):
    network = UNet(pairs(size), **SMALL)
    sizes = []
    for layer in network.down:
        layer.register_forward_hook(lambda _layer, _given, maps: sizes.append(maps.shape[2]))
    network(torch.zeros(2, 1), torch.zeros(2, 1, size, size))
    assert sizes[-1] == 1
    assert len(sizes) == size.bit_length() - 1


@pytest.mark.parametrize(("size", "smallest"), [((48, 64), (3, 4)), ((96, 64), (3, 2)), ((64, 32), (2, 1))])
def test_rectangles_go_down_while_both_edges_are_even(size, smallest):
    network = UNet(DataSpec((3, *size), (), (1, *size)), **SMALL)
    source, maps = torch.zeros(2, 1, *size), torch.zeros(2, 1, *size)
    for layer in network.down:
        maps = layer(maps)
    assert maps.shape[2:] == smallest
    assert network(torch.zeros(2, 1), source).shape == (2, 3, *size)


def test_noise_is_dropout_so_it_is_there_in_training_alone():
    torch.manual_seed(0)
    network, source = UNet(pairs(32), **SMALL), torch.randn(2, 1, 32, 32).clamp(-1, 1)
    z = torch.zeros(2, 1)
    assert not torch.equal(network(z, source), network(z, source))
    network.eval()
    assert torch.equal(network(z, source), network(z, source))
    assert torch.equal(network(z, source), network(torch.ones(2, 1), source))


def test_detail_of_the_source_comes_through_though_the_middle_is_one_pixel_wide():
    torch.manual_seed(0)
    network = UNet(pairs(32), width=8).eval()
    source = torch.randn(1, 1, 32, 32, requires_grad=True)
    network(torch.zeros(1, 1), source)[0, :, 16, 16].sum().backward()
    reach = source.grad[0, 0].abs()
    assert reach[14:19, 14:19].mean() > 10 * reach.mean() > 0


@pytest.mark.parametrize("size", [16, 32, 64])
@pytest.mark.parametrize("normalization", ["batch", "instance"])
def test_the_discriminator_passes_the_checks(size, normalization):
    check_discriminator(PatchGAN, pairs(size), width=4, normalization=normalization)


def test_there_is_a_logit_for_each_patch_and_30_by_30_of_them_at_256_as_in_the_paper():
    network = PatchGAN(pairs(256), width=4)
    logits = network(torch.zeros(2, 3, 256, 256), torch.zeros(2, 1, 256, 256))
    assert logits.shape == (2 * 30 * 30,)


def test_a_logit_depends_on_70_pixels_of_image_and_source():
    network = PatchGAN(pairs(256), width=4, normalization="batch").eval()  # so that patches are apart
    sides = [torch.randn(1, channels, 256, 256, requires_grad=True) for channels in (3, 1)]
    network(*sides).view(30, 30)[15, 15].backward()
    for side in sides:
        reached = side.grad.abs().sum((0, 1)).nonzero()
        assert (reached.amax(0) - reached.amin(0) + 1).tolist() == [70, 70]


@pytest.mark.parametrize("network", [UNet, PatchGAN])
def test_data_that_come_alone_are_refused(network):
    with pytest.raises(ValueError, match="needs paired data, but these are single images"):
        network(DataSpec((3, 32, 32), ("cat", "dog")))
    with pytest.raises(ValueError, match="sources 16x16, but must be equal"):
        network(DataSpec((3, 32, 32), (), (3, 16, 16)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: UNet(pairs(50)), "use --resolution 48"),
        (lambda: UNet(pairs(512)), "use --resolution 256"),
        (lambda: UNet(pairs(32), width=0), "width=0"),
        (lambda: UNet(pairs(32), dropout=1.0), "dropout=1.0"),
        (lambda: PatchGAN(pairs(16), layers=3), "layers=3 must be from 1 to 2"),
        (lambda: PatchGAN(pairs(4)), "less than a patch"),
    ],
)
def test_options_out_of_range_are_told(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("network", [UNet(pairs(16), **SMALL), PatchGAN(pairs(16), width=4)])
def test_sources_left_out_are_asked_for(network):
    with pytest.raises(ValueError, match="as labels"):
        network(torch.zeros(1, 3, 16, 16))


# ---- L1 ----


def test_l1_is_the_distance_to_the_image_that_is_wanted():
    check_regularizer(L1, pairs())
    real, fake = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    step = Step(None, None, images=Pair(real, fake), latents=torch.zeros(2, 1), labels=torch.zeros(2, 1, 4, 4))
    assert L1().generator(step) == 0.5
    assert L1().discriminator(step) is None


@pytest.mark.parametrize("labels", [None, torch.tensor([0, 1])])
def test_l1_to_an_image_that_nobody_wanted_is_refused(labels):
    images = torch.zeros(2, 3, 4, 4)
    with pytest.raises(OptionError, match="are not paired"):
        L1().generator(Step(None, None, images=Pair(images, images), latents=torch.zeros(2, 1), labels=labels))


# ---- data ----


def test_outlines_are_pairs_of_a_face_and_its_lines():
    data = check_dataset(Outlines, count=6, resolution=32)
    assert data.spec == DataSpec((3, 32, 32), (), (1, 32, 32))
    assert set(data.sources.examples.unique().tolist()) == {0, 255}
    assert torch.equal(data.sources.examples[2, 0], draw_outlines(data.examples[2].permute(1, 2, 0)))


def test_a_line_is_where_colours_change():
    image = torch.zeros(4, 4, 3, dtype=torch.uint8)
    image[:, 2:, 1] = 200
    assert draw_outlines(image).eq(0).tolist() == [[False, False, True, False]] * 4


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@pytest.fixture
def pictures():
    """Six pictures for each side."""
    source = np.random.default_rng(0)
    return [source.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8) for _ in range(6)]


@pytest.fixture
def beside(tmp_path, pictures):
    """Both sides in one picture."""
    for index, (a, b) in enumerate(pictures):
        save(tmp_path / "beside" / f"{index}.png", np.concatenate([a, b], axis=1))
    return tmp_path / "beside"


@pytest.fixture
def apart(tmp_path, pictures):
    """Each side in a folder."""
    for index, (a, b) in enumerate(pictures):
        save(tmp_path / "apart" / "a" / f"{index}.png", a)
        save(tmp_path / "apart" / "b" / f"{index}.bmp", b)
    return tmp_path / "apart"


@pytest.mark.parametrize("direction", ["a-to-b", "b-to-a"])
def test_pairs_in_one_picture_are_those_of_two_folders(beside, apart, pictures, direction):
    given, wanted = (0, 1) if direction == "a-to-b" else (1, 0)
    for path in (beside, apart):
        data = check_dataset(PairFolder, path=str(path), direction=direction)
        for index, sides in enumerate(pictures):
            assert np.array_equal(data.sources.examples[index].permute(1, 2, 0).numpy(), sides[given])
            assert np.array_equal(data.examples[index].permute(1, 2, 0).numpy(), sides[wanted])


def test_mirrored_pairs_follow_the_others(apart, pictures):
    data = check_dataset(PairFolder, path=str(apart), mirror=True)
    assert len(data) == 12
    assert torch.equal(data.examples[6:], data.examples[:6].flip(3))
    assert torch.equal(data.sources.examples[6:], data.sources.examples[:6].flip(3))


def test_the_cache_is_another_for_other_options_and_files(apart, beside):
    asked = [{"path": str(beside)}, {"path": str(apart)}, {"path": str(apart), "mirror": True}]
    asked += [{"path": str(apart), "direction": "b-to-a"}]
    keys = [PairFolder(**each).cache_key() for each in asked]
    save(apart / "a" / "0.png", np.zeros((9, 9, 3), np.uint8))
    keys.append(PairFolder(path=str(apart)).cache_key())
    assert len(set(keys)) == 5


def test_pictures_without_a_partner_are_named(apart):
    save(apart / "a" / "lonely.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="a holds lonely, but .*b does not"):
        PairFolder(path=str(apart))
    save(apart / "b" / "lonely.png", np.zeros((8, 8, 3), np.uint8))
    save(apart / "b" / "lonely.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="b holds 2 images named lonely"):
        PairFolder(path=str(apart))


def test_what_is_no_pair_is_refused(tmp_path, beside):
    with pytest.raises(OptionError, match="'pix2pix-folder': no folder"):
        PairFolder()
    with pytest.raises(DataError, match="no such file or folder"):
        PairFolder(path=str(tmp_path / "nowhere"))
    save(beside / "odd.png", np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"odd.png is 9 pixels wide, an odd number"):
        PairFolder(path=str(beside))[6]


# ---- a run ----


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_pix2pix.ganforge_recipes()["pix2pix"])


@pytest.fixture
def run(tmp_path):
    """Run the command line in an empty folder."""

    def call(*arguments):
        place = {**os.environ, "GANFORGE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "ganforge", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return call


@pytest.mark.slow
def test_the_recipe_trains_from_nothing_translates_and_is_exported(run, tmp_path, beside):
    settings = ["generator.width=8", "generator.max_width=32", "discriminator.width=8", "data.count=64"]
    flags = [word for each in [*settings, "training.threads=1"] for word in ("--set", each)]
    run(
        "train",
        "--arch",
        "pix2pix",
        "--data",
        "outlines",
        "--resolution",
        "32",
        "--images",
        "640",
        "--device",
        "cpu",
        "--engine",
        "eager",
        *flags,
    )
    folder = tmp_path / "runs" / "00000-pix2pix-nonsat-outlines"
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(np.isfinite(value) for value in rows[-1].values() if isinstance(value, float))
    generator = ganforge.load(folder)
    data = check_dataset(Outlines, count=16, resolution=32)
    sources, wanted = (each.float() / 127.5 - 1 for each in (data.sources.examples, data.examples))
    made = ganforge.generate(generator, 16, labels=sources)
    others = ganforge.generate(generator, 16, labels=sources.roll(1, 0))
    assert (made - wanted).abs().mean() < (others - wanted).abs().mean()

    run("sample", "--source", beside, "--to", "made")
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == [f"{index}.png" for index in range(6)]

    run("export", "--torchscript", "--to", "generator.pt")
    exported = torch.jit.load(str(tmp_path / "generator.pt"))
    assert torch.allclose(exported(torch.zeros(16, 1), sources), made, atol=1e-4)


@pytest.mark.slow
def test_a_folder_of_the_users_is_trained_on(run, tmp_path, apart):
    flags = ["--set", f"data.path={apart}", "--set", "generator.width=8", "--set", "discriminator.width=8"]
    data = ["--data", "pix2pix-folder", "--resolution", "16", "--images", "8", "--device", "cpu", "--engine", "eager"]
    run("train", "--arch", "pix2pix", *data, *flags, "--set", "training.threads=1")
    assert (tmp_path / "runs" / "00000-pix2pix-nonsat-pix2pix-folder" / "samples" / "000000008.png").exists()
