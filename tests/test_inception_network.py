"""The quick Inception beside torch-fidelity's own, of which it has the weights."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image

from ganforge.evaluation.extractors.inception_network import Conv, Inception, quicken
from ganforge.evaluation.extractors.pixels import resize

SIZES = [(2, 28, 28), (1, 300, 300), (1, 40, 71), (1, 1, 1)]


def error(given, expected):
    assert given.shape == expected.shape
    return float((given.double() - expected.double()).norm() / expected.double().norm())


def draw(count, height, width, *, channels=3):
    source = torch.Generator().manual_seed(height * width)
    return torch.randint(0, 256, (count, channels, height, width), generator=source, dtype=torch.uint8)


@pytest.fixture(scope="module")
def original(random_inception):
    """torch-fidelity's network in float32, and in float64, which it calls float32."""
    double = copy.deepcopy(random_inception).double()
    double.feature_extractor_internal_dtype = torch.float64
    return random_inception, double


@pytest.fixture(scope="module", params=["fused", "plain"])
def network(request, random_inception):
    found = Inception(random_inception.state_dict())
    if request.param == "fused" and not quicken(found):
        pytest.skip("this build of torch has no oneDNN")
    return found


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_and_logits_are_those_of_torch_fidelity_but_for_rounding(network, original, size):
    images = draw(*size)
    theirs, exact = (each(images) for each in original)
    for ours, near, right in zip(network(images), theirs, exact, strict=True):
        assert ours.dtype == torch.float32
        assert error(ours, near) < 1e-6
        assert error(ours, right) < 1e-6


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_resize_is_the_very_same(size):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    for dtype in (torch.float32, torch.float64):
        pixels = draw(*size).to(dtype)
        expected = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(299, 299), align_corners=False)
        assert torch.equal(resize(pixels, 299), expected)


def test_the_clean_resize_is_that_of_pillow_in_float(random_inception):
    state, images = random_inception.state_dict(), draw(2, 40, 60)
    channels = [
        np.asarray(Image.fromarray(each).resize((299, 299), Image.Resampling.BICUBIC))
        for each in images.flatten(0, 1).numpy().astype(np.float32)
    ]
    shown = torch.from_numpy(np.stack(channels)).clamp(0, 255).view(2, 3, 299, 299)
    with torch.no_grad():
        found, _ = Inception(state, clean=True)(images)
        assert error(found, Inception(state).features(shown)) < 1e-4


def test_a_copy_in_float64_computes_in_float64(network, original):
    network(draw(1, 64, 64))
    features = copy.deepcopy(network).double()(draw(1, 64, 64))[0]
    assert features.dtype == torch.float64
    assert error(features, original[1](draw(1, 64, 64))[0]) < 2e-7  # folded weights are rounded to float32


def test_images_are_computed_apart_from_each_other(network):
    images = draw(5, 32, 32)
    assert error(network(images)[0], torch.cat([network(part)[0] for part in images.split(2)])) < 1e-6


def test_features_of_fractions_of_a_level_have_gradients(network):
    pixels = draw(1, 32, 32).float().requires_grad_()
    features = network.features(pixels)
    assert error(features.detach(), network(draw(1, 32, 32))[0]) < 1e-6
    (slope,) = torch.autograd.grad(features.sum(), pixels)
    assert slope.isfinite().all()
    assert slope.abs().sum() > 0


def test_under_autocast_it_computes_in_fewer_digits(network):
    images = draw(1, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        reduced = network(images)[0]
    assert 1e-4 < error(reduced.float(), network(images)[0]) < 3e-2


def test_without_onednns_operators_it_works_as_well(random_inception, original, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("there is no such operator")

    found = Inception(random_inception.state_dict())
    monkeypatch.setattr(torch.ops.mkldnn, "_convolution_pointwise", fail, raising=False)
    assert not quicken(found)
    assert not any(layer.fused for layer in found.modules() if isinstance(layer, Conv))
    assert error(found(draw(1, 32, 32))[0], original[0](draw(1, 32, 32))[0]) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc.weight"), "no weight 'fc.weight'"),
        (lambda state: state.update(more=torch.zeros(1)), "unknown weights: more"),
        (lambda state: state.update({"Mixed_7b.branch1x1.conv.weight": torch.zeros(320, 9, 1, 1)}), "fit"),
    ],
)
def test_weights_of_another_network_are_refused(random_inception, change, message):
    other = dict(random_inception.state_dict())
    change(other)
    with pytest.raises(ValueError, match=message):
        Inception(other)
