"""The networks, the self-supervision, and a run that is resumed and exported."""

import pytest
import torch
from ganforge import DataSpec, Pair, Step
from ganforge.cli import main
from ganforge.testing import check_discriminator, check_generator, check_recipe, check_regularizer
from PIL import Image
from torch.nn.functional import avg_pool2d

import ganforge_fastgan
from ganforge_fastgan import FastGANDiscriminator, FastGANGenerator, Reconstruction
from ganforge_fastgan.layers import Sizes, pick_quarter

DATA = DataSpec((3, 32, 32))


def pair(data=DATA):
    torch.manual_seed(0)
    return FastGANGenerator(data, z_dim=4, width=2), FastGANDiscriminator(data, width=2)


def test_the_parts_pass_the_checks():
    data, decoders = DataSpec((1, 24, 32)), ["decode.", "decode_quarter."]
    check_generator(FastGANGenerator, data, width=1, z_dim=4)
    for each in (data, DataSpec((3, 16, 16))):
        check_discriminator(FastGANDiscriminator, each, width=1, only_regularized=decoders)
    generator, discriminator = pair(data)
    check_regularizer(Reconstruction, data, generator=generator, discriminator=discriminator)


def test_sizes_are_those_of_the_paper():
    def sizes(edge):
        return Sizes(DataSpec((3, edge, edge)))

    assert [sizes(edge).maps[sizes(edge).small] for edge in (64, 256, 1024)] == [(32, 32), (128, 128), (128, 128)]
    network = FastGANGenerator(DataSpec((3, 256, 256)), z_dim=1, width=1)
    edges = [4 << level for level in range(7)]
    sources = {edges[n]: edges[level.source] for n, level in enumerate(network.levels, 1) if level.source >= 0}
    assert sources == {64: 4, 128: 8, 256: 16}


def test_small_maps_scale_the_channels_of_large_ones():
    level = pair(DataSpec((3, 64, 64)))[0].levels[3].eval()
    maps = [torch.randn(2, 32 >> n, 4 << n, 4 << n) if n < 4 else None for n in range(4)]
    found, plain = level(maps), level.layers(maps[3])
    factors = level.excite(maps[0])
    assert factors.shape == (2, plain.shape[1], 1, 1)
    assert ((factors > 0) & (factors < 1)).all()
    torch.testing.assert_close(found, plain * factors)


def test_the_small_image_is_no_copy_of_the_large_one_and_that_of_real_images_is():
    generator, _ = pair()
    large, small = generator.outputs(torch.randn(2, 4))
    assert small.shape == (2, 3, 16, 16)
    assert not torch.allclose(avg_pool2d(large, 2), small, atol=0.1)
    assert torch.equal(generator.extras_of(large)[0], avg_pool2d(large, 2))


def test_half_of_an_images_logits_judge_it_and_half_its_small_one():
    _, discriminator = pair()
    discriminator.eval()
    (count, weight), second = discriminator.scales
    assert (count, weight) == second == (25, 0.5)
    images, small = torch.randn(3, 3, 32, 32), torch.randn(3, 3, 16, 16)

    def judge(images, small=None):
        return discriminator(images, None, small).view(len(images), 2, count)

    both, other = judge(images, small), judge(images, -small)
    assert torch.equal(both[:, 0], other[:, 0])
    assert not torch.allclose(both[:, 1], other[:, 1])
    torch.testing.assert_close(judge(images[1:2], small[1:2]), both[1:2])
    assert torch.equal(judge(images), judge(images, avg_pool2d(images, 2)))


def test_a_quarter_is_the_chosen_one():
    maps = torch.arange(4 * 2 * 4 * 6).view(4, 2, 4, 6)
    found = pick_quarter(maps, torch.tensor([False, False, True, True]), torch.tensor([False, True, False, True]))
    for index, (rows, columns) in enumerate([(0, 0), (0, 3), (2, 0), (2, 3)]):
        assert torch.equal(found[index], maps[index, :, rows : rows + 2, columns : columns + 3])


@pytest.mark.parametrize("edge", [16, 32])
def test_nothing_is_lost_if_wholes_and_quarters_are_drawn_as_they_are_and_the_difference_if_not(edge):
    generator, discriminator = pair(DataSpec((3, edge, edge)))
    images = torch.rand(8, 3, edge, edge)

    def measure(change):
        def reconstruct(shown, below, right):
            assert torch.equal(shown, 1 - images)  # augmented
            half, small = edge // 2, edge // 2 if edge > 16 else 8
            whole = torch.nn.functional.adaptive_avg_pool2d(shown, small)
            quarters = [
                shown[n, :, half * int(down) :, half * int(side) :][:, :half, :half]
                for n, (down, side) in enumerate(zip(below, right, strict=True))
            ]
            quarters = torch.nn.functional.adaptive_avg_pool2d(torch.stack(quarters), small)
            return torch.stack([whole, quarters], 1) + change

        discriminator.reconstruct = reconstruct
        pictures = Pair(images, images)
        step = Step(
            generator, discriminator, images=pictures, latents=torch.zeros(8, 4), augment=lambda images: 1 - images
        )
        return Reconstruction().discriminator(step).item()

    assert measure(0) == pytest.approx(0, abs=1e-6)
    assert measure(0.25) == pytest.approx(0.25)


def test_what_does_not_fit_is_told():
    step = Step(None, None, images=Pair(torch.zeros(1), torch.zeros(1)), latents=torch.zeros(1))
    with pytest.raises(ValueError, match="use --arch fastgan"):
        Reconstruction().discriminator(step)
    for network in (FastGANGenerator, FastGANDiscriminator):
        with pytest.raises(ValueError, match="use --resolution"):
            network(DataSpec((3, 30, 30)))
        with pytest.raises(ValueError, match="at least 1"):
            network(DATA, width=0)


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_fastgan.ganforge_recipes()["fastgan"])


def test_a_run_goes_on_to_the_same_bytes_learns_to_reconstruct_and_is_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    for index in range(10):
        Image.effect_noise((32, 16), 10 + index).convert("RGB").save(tmp_path / "photos" / f"{index}.png")

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert not stop.value.code, told.err
        return told.out.strip()

    small = ["generator.width=1", "generator.z_dim=4", "discriminator.width=1", "training.threads=1"]
    flags = [word for each in [*small, "training.tick_images=8"] for word in ("--set", each)]
    train = ["train", "--arch", "fastgan", "--data", "photos", "--device", "cpu", "--engine", "eager", *flags]
    whole = tmp_path / run(*train, "--precision", "float32", "--images", 48)
    broken = tmp_path / run(*train, "--precision", "float32", "--images", 24)
    run("train", "--resume", broken, "--images", 48)
    assert broken != whole
    assert (broken / "generator.safetensors").read_bytes() == (whole / "generator.safetensors").read_bytes()
    assert "reconstruction" in (whole / "metrics.jsonl").read_text()
    run("export", whole, "--torchscript", "--to", "generator.pt")
    generator = torch.jit.load(str(tmp_path / "generator.pt"))
    assert generator(torch.randn(2, 4)).shape == (2, 3, 16, 32)
