"""Protocols of papers: the resizes of clean-fid and Pillow, FD-DINOv2 and CMMD."""

import json
import urllib.request
from urllib.error import URLError

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from test_extractors import clip_state, dinov2_state

from ganforge import DataSpec
from ganforge.builtin.metrics import Cmmd, FdDinoV2
from ganforge.evaluation.extractors import inception
from ganforge.evaluation.extractors.dinov2 import DinoV2
from ganforge.evaluation.extractors.inception import InceptionExtractor
from ganforge.evaluation.extractors.pixels import resize_8bit, resize_bicubic
from ganforge.evaluation.metrics.comparison import name_metric
from ganforge.evaluation.statistics import Moments, features, frechet_distance, gaussian_discrepancy
from ganforge.testing import check_metric

SIZES = [(32, 32, 299), (400, 640, 299), (448, 448, 224), (300, 300, 336)]


def draw(count, height, width, seed=0):
    source = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8, generator=source)


def by_pillow(images, size, mode):
    """Images resized by Pillow: each channel in float (``F``), or of 8 bits (``L``)."""
    kind = np.float32 if mode == "F" else np.uint8
    channels = images.flatten(0, 1).numpy().astype(kind)
    found = [np.asarray(Image.fromarray(each).resize((size, size), Image.Resampling.BICUBIC)) for each in channels]
    return torch.from_numpy(np.stack(found)).float().view(*images.shape[:2], size, size)


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_resizes_are_those_of_pillow(height, width, size):
    images = draw(1, height, width)
    in_float = resize_bicubic(images.float(), size)
    assert (in_float - by_pillow(images, size, "F")).abs().max() < 0.01  # of 255, by rounding of the filter
    difference = (resize_8bit(images.float(), size) - by_pillow(images, size, "L")).abs()
    assert (difference > 0).float().mean() < 0.005
    assert difference.max() <= 2


def test_rounding_passes_gradients():
    pixels = draw(1, 8, 8).float().requires_grad_()
    resize_8bit(pixels, 16).sum().backward()
    assert (pixels.grad > 0).any()


def test_results_of_the_clean_resize_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(inception, "Inception", lambda state, clean: torch.nn.Flatten())
    monkeypatch.setattr(inception, "quicken", lambda network: True)
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "w.safetensors")
    spec, options = DataSpec((3, 8, 8)), {"weights": str(tmp_path / "w.safetensors"), "resize": "clean"}
    other = InceptionExtractor(spec, **options)
    assert name_metric("fid", other) == f"fd_inception-clean-{other.weights_sha256[:8]}"
    monkeypatch.setattr(inception, "SHA256", other.weights_sha256)
    assert name_metric("fid", InceptionExtractor(spec, **options)) == "fid_clean"
    plain = InceptionExtractor(spec, weights=options["weights"])
    assert name_metric("fid", plain) == "fid"
    assert plain.preprocessing != other.preprocessing


def test_the_discrepancy_is_that_of_its_definition(monkeypatch):
    monkeypatch.setattr(features, "ROWS", 64)  # several blocks
    source = torch.Generator().manual_seed(0)
    real, fake = torch.randn(203, 16, generator=source) + 1, torch.randn(150, 16, generator=source)
    x, y = (each.double() / each.double().norm(dim=1, keepdim=True) for each in (real, fake))

    def kernel(a, b):
        return torch.exp(-(a[:, None] - b).square().sum(2) / 200)

    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    found = gaussian_discrepancy(real, fake)
    assert found.biased == pytest.approx(1000 * (xx.mean() + yy.mean() - 2 * xy.mean()).item(), rel=1e-9)
    within = sum((each.sum() - len(each)) / (len(each) * (len(each) - 1)) for each in (xx, yy))
    assert found.value == pytest.approx(1000 * (within - 2 * xy.mean()).item(), rel=1e-9)
    assert found.interval.low < found.value < found.interval.high
    equal = gaussian_discrepancy(real[:100], real[100:])
    assert equal.interval.low < 0 < equal.interval.high
    assert equal.biased > equal.value


@pytest.mark.parametrize("metric", [FdDinoV2, Cmmd])
def test_the_metrics_keep_the_contract(metric):
    check_metric(metric)


@pytest.fixture
def place(here):
    """Folders of images, and weights of small networks."""
    for name, seed in (("reals", 1), ("fakes", 2)):
        (here / name).mkdir()
        for index, pixels in enumerate(draw(24, 16, 16, seed)):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(here / name / f"{index:02d}.png")
    safetensors.torch.save_file(dinov2_state(), here / "dino.safetensors")
    safetensors.torch.save_file(clip_state(), here / "clip.safetensors")
    return here


def test_metrics_with_extractors_of_their_own_stand_beside_others(run, place):
    code, out, err = run(
        "eval", "fakes", "--data", "reals", "--fid", "--extractor", "random", "--metric",
        "fd-dinov2:weights=dino.safetensors", "--metric", "cmmd:weights=clip.safetensors", "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0, err
    plain, distance, discrepancy = json.loads(out)
    assert plain["metric"] == "fd_random"
    assert distance["metric"] == f"fd_dinov2-{distance['protocol']['weights_sha256'][:8]}"
    assert discrepancy["metric"] == f"cmmd_clip-{discrepancy['protocol']['weights_sha256'][:8]}"
    assert "weights" not in distance["protocol"]
    assert discrepancy["details"]["biased"] > discrepancy["value"]
    network, found = DinoV2(dinov2_state()), []
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    for seed in (1, 2):
        shown = by_pillow(draw(24, 16, 16, seed), 224, "L") / 255
        with torch.no_grad():
            found.append(network((shown - mean) / deviation).double())
    assert distance["value"] == pytest.approx(frechet_distance(*map(Moments.of, found)), rel=1e-3)


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--fd-dinov2", ("dinov2_vitl14_pretrain.pth", "--metric fd-dinov2:weights=FILE")),
        ("--cmmd", ("clip-vit-l-14-336px", "--metric cmmd:weights=FILE")),
    ],
)
def test_without_a_network_the_error_names_the_file(run, place, monkeypatch, flag, said):
    def refuse(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setenv("TORCH_HOME", str(place / "torch"))
    arguments = ["eval", "fakes", "--data", "reals", flag, "--device", "cpu"]
    code, out, err = run(*arguments)
    assert (code, out, "Traceback" in err) == (2, "", False)
    assert all(each in err.replace("\n", "") for each in said)
    code, _, err = run(*arguments, "--extractor", "random")
    assert code == 2
    assert f"{flag} does not use it" in err


def test_all_leaves_out_metrics_with_large_networks_of_their_own(run, place, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("it downloads"))
    code, out, err = run("eval", "fakes", "--data", "reals", "--all", "--extractor", "random", "--device", "cpu")
    assert code == 0, err
    assert "fd_random" in out
    assert "dinov2" not in out + err
