"""Checkpoints of other programs become runs."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import ganforge
from ganforge import CheckpointError, DataSpec, Imported, Importer
from ganforge.builtin.importers import TorchDCGAN
from ganforge.core import torch_files
from ganforge.runs.checkpoint import read_card
from ganforge.testing import check_importer


def foreign(z_dim=6, width=4, channels=3, stages=3):
    """A generator as pytorch/examples builds it: every layer without a bias."""
    layers, sizes = [], [width * 2**each for each in range(stages - 2, -1, -1)]
    for number, size in enumerate(sizes):
        given = z_dim if number == 0 else sizes[number - 1]
        stride = (1, 0) if number == 0 else (2, 1)
        layers += [nn.ConvTranspose2d(given, size, 4, *stride, bias=False), nn.BatchNorm2d(size), nn.ReLU(True)]
    layers += [nn.ConvTranspose2d(width, channels, 4, 2, 1, bias=False), nn.Tanh()]
    network = nn.Module()
    network.main = nn.Sequential(*layers)
    network.forward = lambda z: network.main(z[:, :, None, None])
    torch.manual_seed(3)
    for each in network.main:
        if isinstance(each, nn.BatchNorm2d):
            each.running_mean.normal_()
            each.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture
def file(here):
    save_file(foreign().state_dict(), "theirs.safetensors")
    return here / "theirs.safetensors"


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imported_generator_gives_the_same_images(run, here, prefix):
    network = foreign()
    save_file({prefix + name: each for name, each in network.state_dict().items()}, "theirs.safetensors")
    code, out, err = run("import", "theirs.safetensors")
    assert code == 0, err
    assert out == "runs/00000-theirs\n"
    z = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(ganforge.load(here / out.strip())(z), network(z))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_read_as_well(run, here, zipped):
    network = foreign()
    torch.save(network.state_dict(), "netG.pth", _use_new_zipfile_serialization=zipped)
    code, out, err = run("import", "netG.pth")
    assert code == 0, err
    z = torch.randn(5, 6)
    with torch.no_grad():
        assert torch.equal(ganforge.load(here / out.strip())(z), network(z))
    torch.save({"epoch": 3, **network.state_dict()}, "netG.pth")
    code, _, err = run("import", "netG.pth", "--format", "pytorch-dcgan")
    assert (code, err.count("\n")) == (2, 1)
    assert "no state dictionary: it has more than tensors" in err


@pytest.mark.parametrize(("content", "code"), [({"other": 1}, 2), (foreign().state_dict(), 0)])
def test_a_file_is_parsed_once_for_all_importers(run, here, monkeypatch, content, code):
    torch.save(content, "netG.pth")
    parsed, parse = [], torch_files._parse
    monkeypatch.setattr(torch_files, "_parse", lambda path: parsed.append(path) or parse(path))
    assert run("import", "netG.pth")[0] == code
    assert len(parsed) == 1
    torch.save(foreign(z_dim=8).state_dict(), "netG.pth")
    assert torch_files.read_pickle(here / "netG.pth").content["main.0.weight"].shape[0] == 8


def test_a_run_tells_where_its_weights_come_from(run, file):
    assert run("import", file, "--name", "mine", "--format", "pytorch-dcgan")[0] == 0
    card = read_card(ganforge.open_run().path / "generator.safetensors")
    assert card["imported"] == {
        "file": "theirs.safetensors",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "importer": "pytorch-dcgan",
        "format": "state dictionary of pytorch/examples' DCGAN",
        "license": "unknown",
        "source": "unknown",
    }
    assert card["data"]["shape"] == [3, 16, 16]
    config = json.loads((ganforge.open_run().path / "config.json").read_text())
    assert config["generator"] == {
        "name": "dcgan", "z_dim": 6, "width": 4, "max_width": 8, "upsampling": "transposed", "conditioning": "none"
    }  # fmt: skip


@pytest.mark.slow
def test_a_photograph_is_projected_by_features_into_a_run_without_data(run, file, image_folder):
    assert run("import", file)[0] == 0
    photograph = image_folder / "cat" / "0.png"
    code, out, err = run("explore", "project", "--image", photograph, "--features", "random", "--steps", "1")
    assert code == 0, err
    assert f"{photograph}: " in out


def test_an_imported_run_is_sampled_and_trained_on(run, file, here, image_folder):
    assert run("import", file)[0] == 0
    code, _, err = run("sample", "--count", "2", "--device", "cpu")
    assert code == 0, err
    code, _, err = run(
        "train", "--data", image_folder, "--init-from", "00000-theirs", "--arch", "dcgan", "--images", "8",
        "--batch", "4", "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "generator.width=4",
        "--set", "generator.max_width=8", "--set", "generator.z_dim=6", "--set", "discriminator.width=4",
        "--set", "training.samples=4", "--set", "training.layout=contiguous", "--set", "training.threads=1",
    )  # fmt: skip
    assert code == 0, err
    for arguments in (("train", "--resume", "00000-theirs"), ("eval", "00000-theirs", "--patch-distance")):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.splitlines()[-1] == (
            "error: the run was imported without its data - give images: --data; to train: --init-from RUN"
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: {"other": torch.zeros(1)}, "no importer recognizes it - importers: pytorch-dcgan"),
        (lambda tensors: {**tensors, "main.1.weight": torch.zeros(3)}, "its weights do not fit generator 'dcgan'"),
        (lambda tensors: {**tensors, "main.0.weight": torch.zeros(6, 9, 4, 4)}, "or evaluate a folder of its images"),
        (
            lambda tensors: {**tensors, "main.1.bias": torch.full((8,), torch.nan)},
            "weights of the generator are not finite",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(run, here, change, said):
    save_file(change(foreign().state_dict()), "theirs.safetensors")
    code, out, err = run("import", "theirs.safetensors")
    assert (code, out) == (2, "")
    assert said in err
    assert not list(here.glob("runs/*/config.json"))


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"text"])
def test_a_damaged_file_is_one_line(run, here, content):
    (here / "theirs.safetensors").write_bytes(content)
    for arguments in ([], ["--format", "pytorch-dcgan"]):
        code, out, err = run("import", "theirs.safetensors", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
    assert run("import", "nothing.safetensors")[0] == 2


def test_the_built_in_importer_keeps_the_contract(file):
    assert check_importer(TorchDCGAN, file).options == {"z_dim": 6, "width": 4, "max_width": 8}


class Greedy(Importer):
    """Takes any file."""

    def recognizes(self, path):
        return True

    def read(self, path):
        raise CheckpointError("nothing")


class Raising(Greedy):
    """Raises for other files."""

    def recognizes(self, path):
        return path.read_bytes()[9] > 0


class Misfit(TorchDCGAN):
    """Returns other options."""

    def read(self, path):
        return Imported(generator="dcgan", options={}, data=DataSpec((3, 16, 16)), weights=super().read(path).weights)


@pytest.mark.parametrize(
    ("importer", "said"),
    [(Greedy, "look at the content"), (Raising, "raises IndexError"), (Misfit, "do not fit generator 'dcgan'")],
)
def test_an_importer_that_breaks_the_contract_is_told_in_a_sentence(file, importer, said):
    with pytest.raises(AssertionError, match=said):
        check_importer(importer, file)
