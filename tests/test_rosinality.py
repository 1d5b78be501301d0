"""Checkpoints of rosinality's StyleGAN2 are imported with equal images and logits."""

import pytest
import rosinality_files
import stylegan2_files as files
import torch

import ganforge
from ganforge import CheckpointError
from ganforge.builtin.rosinality import Rosinality
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.testing import check_importer


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return files.generator(z_dim=6, w_dim=6, num_layers=3), files.discriminator()


def write(path, networks, zipped=True, **changes):
    generator, judge = networks
    content = {"g": rosinality_files.generator(generator), "d": rosinality_files.discriminator(judge)}
    content |= {"g_ema": content["g"], "g_optim": {"state": {}}, "ada_aug_p": 0.0, "args": None, **changes}
    torch.save(
        {name: each for name, each in content.items() if each is not ...}, path, _use_new_zipfile_serialization=zipped
    )
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_images_styles_and_logits_are_those_of_the_file(tmp_path, networks, zipped):
    theirs, judged = networks
    found = Rosinality().read(write(tmp_path / "theirs.pt", networks, zipped))
    network = StyleGAN2Generator(found.data, **found.options).eval()
    network.load_state_dict(found.weights)
    own = dict(found.settings["discriminator"])
    own.pop("name")
    judge = StyleGAN2Discriminator(found.data, **own).eval()
    judge.load_state_dict(found.players["discriminator"])
    z = torch.randn(4, 6)
    expected = files.styles_of(theirs.mapping, z.double())
    images = files.draw(theirs.synthesis, expected)
    with torch.no_grad():
        styles = network.mapping(z)
        assert (styles - expected).abs().max() < 1e-5
        assert (network.synthesis(styles) - images).abs().max() < 1e-5 * images.abs().max().clamp(min=1)
        logits = files.judge(judged, images)
        assert (judge(images.float()) - logits).abs().max() < 1e-5 * logits.abs().max().clamp(min=1)
        mean = files.styles_of(theirs.mapping, torch.randn(20_000, 6).double())[:, 0].mean(0)
    assert (network.mapper.mean - mean).abs().max() < 0.1


def test_a_run_is_made(run, here, networks):
    code, out, err = run("import", write(here / "theirs.pt", networks, g=..., d=...))
    assert code == 0, err
    assert "no discriminator d" in err
    assert ganforge.load(here / out.strip())(torch.randn(2, 6)).shape == (2, 3, 16, 16)


def test_a_mean_style_is_taken_and_noise_is_drawn_where_there_is_none(tmp_path, networks):
    weights = {name: each for name, each in rosinality_files.generator(networks[0]).items() if "noises" not in name}
    found = Rosinality().read(
        write(tmp_path / "theirs.pt", networks, g_ema=weights, g=..., d=..., latent_avg=torch.arange(6.0))
    )
    assert found.weights["mapper.mean"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.weights["layers.0.noise.fixed"].std() > 0.5
    assert found.notes[0] == "the file has no fixed noise; it is drawn anew"
    with pytest.raises(CheckpointError, match="latent_avg has shape"):
        Rosinality().read(write(tmp_path / "other.pt", networks, latent_avg=torch.zeros(5)))


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("g_ema", {"convs.1.conv.weight": torch.zeros(1, 6, 5, 3, 3)}, "convs.1.conv.weight has shape (1, 6, 5, 3, 3)"),
        ("g_ema", {"style.2.weight": torch.zeros(6, 5)}, "g_ema.style.2.weight has shape (6, 5), but (6, 6) fits"),
        ("g_ema", {"noises.noise_1": torch.zeros(1, 1, 4, 4)}, "noises.noise_1 has shape"),
        ("g_ema", {"to_rgbs.0.upsample.kernel": torch.eye(4)}, "not the same along both axes"),
        ("g_ema", {"conv1.noise.weight": None}, "g_ema has no tensor 'conv1.noise.weight'"),
        ("d", {"final_linear.1.weight": torch.zeros(2, 6)}, "final_linear.1 has shape (2, 6)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_name(tmp_path, networks, name, changes, said):
    whole = {"g_ema": rosinality_files.generator(networks[0]), "d": rosinality_files.discriminator(networks[1])}
    path = write(tmp_path / "theirs.pt", networks, **{name: {**whole[name], **changes}})
    with pytest.raises(CheckpointError) as caught:
        Rosinality().read(path)
    assert said in str(caught.value)


def test_the_importer_keeps_the_contract(tmp_path, networks):
    check_importer(Rosinality, write(tmp_path / "theirs.pt", networks))
