"""Features, projections, the discriminator, and a run."""

import hashlib
import json
from itertools import pairwise
from pathlib import Path

import ganforge
import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision
from ganforge import CheckpointError, DataSpec, OptionError
from ganforge.cli import main
from ganforge.runs.checkpoint import read_tensors
from ganforge.testing import check_discriminator, check_recipe
from PIL import Image

import ganforge_projected
from ganforge_projected import ProjectedDiscriminator
from ganforge_projected.discriminator import Projection
from ganforge_projected.features import FeatureNetwork, _find_layers

DATA = DataSpec((3, 32, 32))
SMALL = {"size": 32, "channels": 2, "max_width": 8}


@pytest.fixture(scope="module")
def resnet():
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    for name, value in network.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def weights(resnet, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
    safetensors.torch.save_file(resnet.state_dict(), path)
    return str(path)


def test_maps_are_those_of_torchvision_for_standardized_and_resized_images(resnet, weights):
    images = torch.rand(2, 3, 24, 32) * 2 - 1
    transform = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    larger = torch.nn.functional.interpolate(transform((images + 1) / 2), (48, 64), mode="bilinear")
    with torch.no_grad():
        x = resnet.maxpool(resnet.relu(resnet.bn1(resnet.conv1(larger))))
        network = FeatureNetwork("resnet18", weights, 48)
        layers = resnet.layer1, resnet.layer2, resnet.layer3, resnet.layer4
        for found, layer in zip(network(images), layers, strict=True):
            x = layer(x)
            assert torch.allclose(found, x, atol=1e-4)
            assert found.shape == x.shape
    assert network.channels == [64, 128, 256, 512]
    assert not any(name.startswith("network.fc") for name in network.state_dict())


@pytest.mark.parametrize(
    ("name", "channels"), [("efficientnet_b0", [24, 40, 112, 1280]), ("mobilenet_v3_small", [16, 24, 48, 576])]
)
def test_the_last_layer_of_each_stride_is_found_in_other_networks(tmp_path, name, channels):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(torchvision.models.get_model(name, num_classes=5).state_dict(), path)
    network = FeatureNetwork(name, str(path), None)
    assert network.channels == channels
    maps = network(torch.zeros(1, 3, 64, 96))
    assert [each.shape[1:] for each in maps] == [
        (width, 64 // stride, 96 // stride) for width, stride in zip(channels, (4, 8, 16, 32), strict=True)
    ]


def test_a_layer_that_runs_at_several_strides_is_not_chosen():
    class Strides(torch.nn.Module):
        def __init__(self):
            super().__init__()
            widths = [3, 4, 5, 6, 7, 8]
            self.steps = torch.nn.ModuleList(torch.nn.Conv2d(*each, 3, 2, 1) for each in pairwise(widths))
            self.relu = torch.nn.ReLU()

        def forward(self, x):
            for step in self.steps:
                x = self.relu(step(x))
            return x

    layers, channels = _find_layers(Strides(), "toy")
    assert layers == {4: "steps.1", 8: "steps.2", 16: "steps.3", 32: "steps.4"}
    assert channels == [5, 6, 7, 8]


def test_projections_mix_channels_and_lead_coarse_maps_into_fine_ones():
    torch.manual_seed(0)
    projection = Projection([3, 4, 5], [2, 6, 8])
    maps = [
        torch.randn(1, width, edge, edge, requires_grad=True) for width, edge in zip((3, 4, 5), (8, 4, 2), strict=True)
    ]
    mixed = projection(maps)
    assert [each.shape for each in mixed] == [(1, 2, 8, 8), (1, 6, 4, 4), (1, 8, 2, 2)]
    for level, each in enumerate(mixed):
        gradients = torch.autograd.grad(each[0, 0].sum(), maps, allow_unused=True, retain_graph=True)
        reached = [gradient is not None and bool((gradient.abs().amax((2, 3)) > 0).all()) for gradient in gradients]
        assert reached == [source >= level for source in range(3)]
    assert not any(each.requires_grad for each in projection.parameters())


def test_a_projection_keeps_the_spread_of_the_maps_that_it_mixes():
    torch.manual_seed(0)
    maps = [torch.randn(64, 256, 4, 4)]
    assert Projection([256], [512])(maps)[0].std().item() == pytest.approx(1, abs=0.1)


def test_the_discriminator_passes_the_checks(weights):
    check_discriminator(ProjectedDiscriminator, DataSpec((1, 64, 32)), weights=weights, **SMALL)


def test_each_scale_is_judged_by_itself_from_maps_of_four_pixels(weights):
    network = ProjectedDiscriminator(DATA, weights=weights, **{**SMALL, "size": 64})
    assert network.scales == ((16, 1.0), (16, 1.0), (16, 1.0), (4, 1.0))
    assert network(torch.zeros(3, 3, 32, 32)).shape == (3 * 52,)
    trained = {name.partition(".")[0] for name, each in network.named_parameters() if each.requires_grad}
    assert trained == {"heads"}


def test_images_reach_the_network_at_224_pixels_unless_larger(weights):
    for edge, size in ((32, 224), (256, 256)):
        network = ProjectedDiscriminator(DataSpec((3, edge, edge)), weights=weights, channels=1, max_width=1)
        assert network.features(torch.zeros(1, 3, edge, edge))[0].shape[2] == size // 4


def test_what_cannot_be_used_is_told_in_a_line(resnet, weights, tmp_path):
    def state(**changes):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors"
        safetensors.torch.save_file({**resnet.state_dict(), **changes}, path)
        return str(path)

    (tmp_path / "text.safetensors").write_text("weights")
    deeper = {f"layer1.2.{name}": value.clone() for name, value in resnet.layer1[1].state_dict().items()}
    for options, error, message in (
        ({}, OptionError, r"needs the weights of resnet18 \(--set discriminator.weights=FILE"),
        ({"weights": str(tmp_path / "none")}, CheckpointError, "none: no such file"),
        ({"weights": str(tmp_path / "text.safetensors")}, CheckpointError, "is not a safetensors file"),
        (
            {"weights": state(**deeper)},
            CheckpointError,
            "no weights of torchvision's resnet18: 'layer1.2.*' is unknown",
        ),
        ({"weights": weights, "network": "resnet"}, OptionError, "no classification network 'resnet'"),
        ({"weights": weights, "network": "vit_b_16"}, OptionError, "vit_b_16 has no maps at strides"),
        ({"weights": state(**{"bn1.bias": torch.zeros(3)})}, CheckpointError, r"'bn1.bias' has the shape \[3\], not"),
        ({"weights": state(**{"bn1.bias": torch.full((64,), torch.nan)})}, CheckpointError, "'bn1.bias' is not finite"),
    ):
        with pytest.raises(error, match=message):
            ProjectedDiscriminator(DATA, **{**SMALL, **options})
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ProjectedDiscriminator(DataSpec((4, 32, 32)), weights=weights)


def test_the_recipe_keeps_the_contract():
    check_recipe(ganforge_projected.ganforge_recipes()["projected"])


@pytest.mark.slow
def test_a_run_goes_on_to_the_same_bytes_and_its_own_features_are_noted(weights, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    draw = np.random.default_rng(0)
    for index in range(24):
        Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{index}.png")

    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in words])
        told = capsys.readouterr()
        assert not stop.value.code, told.err
        return told.out + told.err

    small = [f"discriminator.{name}={value}" for name, value in {**SMALL, "weights": weights}.items()]
    small += ["generator.width=2", "generator.z_dim=4", "training.threads=1", "training.tick_images=16"]
    flags = [word for each in small for word in ("--set", each)]
    train = ["train", "--arch", "projected", "--data", "photos", "--batch", 8, "--device", "cpu", "--engine", "eager"]
    train += ["--precision", "float32", *flags]
    run(*train, "--images", 32, "--name", "whole")
    run(*train, "--images", 16, "--name", "broken")
    run("train", "--resume", "--images", 32)
    whole, broken = sorted((tmp_path / "runs").iterdir())
    newest = whole / "checkpoints" / "000000032.safetensors"
    ours, theirs = (read_tensors(each / "checkpoints" / newest.name)[0] for each in (whole, broken))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (whole / "generator.safetensors").read_bytes() == (broken / "generator.safetensors").read_bytes()
    (frozen,) = whole.glob("checkpoints/frozen-*.safetensors")
    assert 40 * newest.stat().st_size < frozen.stat().st_size
    row = json.loads((whole / "environment.jsonl").read_text())
    assert row["weights_sha256"] == {"discriminator": hashlib.sha256(Path(weights).read_bytes()).hexdigest()}
    run("export", whole, "--torchscript", "--to", "generator.pt")
    z, generator = torch.randn(2, 4), ganforge.load(whole)
    assert torch.allclose(torch.jit.load("generator.pt")(z), generator(z), atol=1e-5)
    extractor = f"torchvision:model=resnet18,weights={weights},size=32"
    told = run("eval", whole, "--kid", "--samples", 24, "--device", "cpu", "--extractor", extractor)
    assert "kd_resnet18" in told
    assert "the network that measures took part in training" in told
