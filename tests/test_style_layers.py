import math

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, instance_norm, interpolate, pad

from ganforge import (
    NOISE_MODES,
    AdaIN,
    BilinearDownsample,
    BilinearUpsample,
    Blur,
    EqualizedConv2d,
    EqualizedLinear,
    MappingNetwork,
    NoiseInjection,
    PixelNorm,
    RepeatPixels,
    UpsampledConv2d,
    layer_noise,
)
from ganforge.layers.adain import _Normalize
from ganforge.layers.resample import repeat_pixels


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# Equalized learning rate.


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_an_equalised_linear_layer_scales_weights_and_biases_when_it_runs(lr_multiplier):
    layer = EqualizedLinear(5, 3, gain=1.5, lr_multiplier=lr_multiplier).double()
    torch.nn.init.normal_(layer.bias)
    x = randn(4, 5)
    for n in range(4):
        for o in range(3):
            total = sum(layer.weight[o, i].item() * x[n, i].item() for i in range(5))
            expected = total * 1.5 / math.sqrt(5) * lr_multiplier + layer.bias[o].item() * lr_multiplier
            assert layer(x)[n, o].item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("gain", [1.0, 2**0.5])
@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_outputs_have_the_deviation_of_the_gain_whatever_the_learning_rate(gain, lr_multiplier):
    layer = EqualizedLinear(300, 300, gain=gain, lr_multiplier=lr_multiplier)
    assert layer(torch.randn(300, 300)).std().item() == pytest.approx(gain, rel=0.02)
    assert layer.weight.std().item() == pytest.approx(1 / lr_multiplier, rel=0.02)


def test_the_weights_of_an_equalised_convolution_give_unit_variance():
    layer = EqualizedConv2d(40, 30, 3).double()
    # Independent unit inputs: an output's variance is the sum of its squared weights, whose mean is exactly 1.
    weights = layer.weight.double() / math.sqrt(40 * 9)
    response = layer(torch.eye(360, dtype=torch.float64).view(360, 40, 3, 3))[:, :, 1, 1]
    variances = response.square().sum(0)
    assert torch.allclose(variances, weights.square().sum((1, 2, 3)))
    assert variances.mean().item() == pytest.approx(1, abs=5 * math.sqrt(2 / weights.numel()))


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("resample", ["none", "up", "down"])
def test_an_equalised_convolution_equals_its_steps(kernel_size, resample):
    layer = EqualizedConv2d(3, 4, kernel_size, gain=1.3, resample=resample).double()
    torch.nn.init.normal_(layer.bias)
    x = randn(2, 3, 6, 8)
    grown = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if resample == "up" else x
    weight = layer.weight * 1.3 / math.sqrt(3 * kernel_size**2)
    expected = conv2d(grown, weight, layer.bias, padding=kernel_size // 2)
    expected = avg_pool2d(expected, 2) if resample == "down" else expected
    assert torch.allclose(layer(x), expected, rtol=1e-12, atol=1e-12)


# Pixel norm.


def test_pixel_norm_brings_each_pixel_to_a_mean_square_of_one():
    x = randn(2, 5, 3, 4) * 7
    normal = PixelNorm()(x)
    for n, h, w in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
        size = math.sqrt(sum(x[n, c, h, w].item() ** 2 for c in range(5)) / 5)
        assert (normal[n, :, h, w] * size).tolist() == pytest.approx(x[n, :, h, w].tolist(), rel=1e-8)
    assert torch.allclose(PixelNorm()(x[:, :, 0, 0]), normal[:, :, 0, 0])
    assert PixelNorm()(torch.zeros(2, 5)).isfinite().all()


# Blur and resampling.


def test_the_blur_is_the_binomial_kernel_and_sums_to_one():
    spot = torch.zeros(1, 2, 5, 7, dtype=torch.float64)
    spot[0, 1, 2, 3] = 1
    blurred = Blur()(spot)
    kernel = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(blurred[0, 1, 1:4, 2:5], kernel.double())
    assert blurred.sum().item() == 1
    assert not blurred[0, 0].any()


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 2, 1, 5), (1, 1, 3, 2)])
def test_the_blur_is_its_own_gradient(shape):
    x, gradient = randn(*shape).requires_grad_(), randn(*shape)
    padded = pad(x, (1, 1, 1, 1), mode="replicate")
    kernel = torch.tensor([1.0, 2.0, 1.0]).double() / 4
    kernels = torch.outer(kernel, kernel).expand(shape[1], 1, 3, 3)
    (expected,) = torch.autograd.grad(conv2d(padded, kernels, groups=shape[1]), x, gradient)
    (found,) = torch.autograd.grad(Blur()(x), x, gradient)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize("layer", [Blur, BilinearUpsample, BilinearDownsample])
def test_a_constant_stays_what_it_is_up_to_the_border(layer):
    result = layer()(torch.full((1, 2, 4, 6), 0.7))
    assert torch.allclose(result, torch.full_like(result, 0.7))


def test_repeated_pixels_are_nearest_interpolation():
    x = randn(2, 3, 4, 6)
    assert torch.equal(RepeatPixels()(x), interpolate(x, scale_factor=2, mode="nearest"))
    assert torch.equal(repeat_pixels(x, 5), interpolate(x, scale_factor=5, mode="nearest"))


@pytest.mark.parametrize("bias", [True, False])
def test_an_upsampled_convolution_is_that_of_repeated_pixels(bias):
    layer, x = UpsampledConv2d(4, 3, bias=bias).double(), randn(2, 4, 5, 7)
    expected = conv2d(repeat_pixels(x), layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.to_transposed()(x), expected, rtol=0, atol=1e-12)


def test_upsampling_is_bilinear_interpolation_and_downsampling_blurs_before_it_averages():
    x = randn(2, 3, 4, 6)
    expected = interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    assert torch.allclose(BilinearUpsample()(x), expected)
    small = BilinearDownsample()(x)
    assert small.shape == (2, 3, 2, 3)
    row = torch.tensor([1.0, 3.0, 3.0, 1.0]).double() / 8  # [1, 2, 1] / 4 with [1, 1] / 2
    middle = (x[:, :, :, 1:5] * row).sum(3)
    rows = torch.cat([middle[:, :, :1], middle[:, :, :3]], 2)  # the first row is repeated beyond the border
    assert torch.allclose(small[:, :, 0, 1], (rows * row).sum(2))


# Noise.


def test_noise_is_one_map_for_all_channels_by_strengths_that_begin_at_zero():
    layer = NoiseInjection(3, 4)
    x = torch.randn(5, 3, 4, 4)
    assert all(torch.equal(layer(x, noise), x) for noise in ("random", "fixed", "none"))
    with torch.no_grad():
        layer.strength.copy_(torch.tensor([1.0, -2.0, 0.0]).view(3, 1, 1))
    fixed = layer(x, "fixed") - x
    assert torch.allclose(fixed, (layer.fixed * layer.strength).expand_as(x), atol=1e-6)
    drawn = layer(x) - x
    assert torch.allclose(drawn[:, 1], -2 * drawn[:, 0], atol=1e-5)
    assert not drawn[:, 2].any()
    assert not torch.isclose(drawn[0], drawn[1]).all()
    assert not torch.equal(layer(x), layer(x))
    assert layer(x, "none") is x
    with pytest.raises(ValueError, match="noise=loud is invalid; it must be random, fixed or none"):
        layer(x, "loud")


def test_slow_noise_strengths_count_as_much_less_as_they_are_kept_larger():
    fast, slow = NoiseInjection(2, 4), NoiseInjection(2, 4, lr_multiplier=0.01)
    slow.fixed.copy_(fast.fixed)
    torch.nn.init.constant_(fast.strength, 0.3)
    torch.nn.init.constant_(slow.strength, 30.0)
    x = torch.randn(3, 2, 4, 4)
    assert torch.allclose(slow(x, "fixed"), fast(x, "fixed"))
    (of_fast,) = torch.autograd.grad(fast(x, "fixed").square().sum(), fast.strength)
    (of_slow,) = torch.autograd.grad(slow(x, "fixed").square().sum(), slow.strength)
    assert torch.allclose(of_slow, of_fast / 100)


def test_drawn_noise_is_normal():
    layer = NoiseInjection(1, 4)
    torch.nn.init.ones_(layer.strength)
    drawn = layer(torch.zeros(1000, 1, 10, 10))
    assert drawn.mean().abs().item() < 5 / math.sqrt(1e5)
    assert drawn.std().item() == pytest.approx(1, abs=5 / math.sqrt(2e5))


def test_each_mode_of_noise_says_which_layers_have_it():
    found = {noise: [layer_noise(noise, layer, 4) for layer in range(4)] for noise in NOISE_MODES}
    assert found == {
        "random": ["random"] * 4,
        "fixed": ["fixed"] * 4,
        "none": ["none"] * 4,
        "only-coarse": ["fixed", "fixed", "none", "none"],
        "only-fine": ["none", "none", "fixed", "fixed"],
    }
    for function, error in ((layer_noise, ValueError), (torch.jit.script(layer_noise), torch.jit.Error)):
        with pytest.raises(error, match="noise=coarse is invalid; it must be random, fixed, none, only-coarse or on"):
            function("coarse", 0, 4)


# AdaIN.


def test_after_adain_each_map_has_the_mean_and_deviation_of_its_style():
    layer = AdaIN(3, 6).double()
    x, w = randn(4, 3, 8, 8) * 5 + 2, randn(4, 6)
    result = layer(x, w)
    weight, bias = layer.affine.weight / math.sqrt(6), layer.affine.bias
    for n in range(4):
        style = weight @ w[n] + bias
        for c in range(3):
            values = result[n, c].flatten().tolist()
            mean = sum(values) / 64
            deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / 64)
            assert mean == pytest.approx(style[3 + c].item(), rel=1e-9)
            assert deviation == pytest.approx(abs(style[c].item()), rel=1e-5)


def test_adain_begins_around_scales_of_one_and_shifts_of_zero():
    layer = AdaIN(3, 6)
    x = torch.randn(2, 3, 8, 8)
    assert torch.allclose(layer(x, torch.zeros(2, 6)), instance_norm(x))


def test_adain_is_instance_norm_with_styles_and_twice_differentiable():
    x, scale, shift = (2 * randn(2, 3, 4, 5) + 1, randn(2, 3, 1, 1), randn(2, 3, 1, 1))
    inputs = [each.requires_grad_() for each in (x, scale, shift)]
    assert torch.allclose(_Normalize.apply(*inputs)[0], scale * instance_norm(x) + shift, atol=1e-12)
    # Its other outputs carry gradients only in the second derivative; all are compared with finite differences.
    assert torch.autograd.gradcheck(_Normalize.apply, inputs)
    assert torch.autograd.gradgradcheck(_Normalize.apply, inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_adain_keeps_memory_format_and_type_and_a_constant_map_becomes_its_shift(dtype):
    layer = AdaIN(4, 5).to(dtype)
    x = torch.randn(2, 4, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    x[0, 0] = 37.5  # exact in both types, and so is its mean
    w = torch.randn(2, 5).to(dtype)
    out = layer(x, w)
    assert out.dtype == dtype
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(out[0, 0], layer.affine(w)[0, 4].expand(8, 8))


# The mapping network.


def test_the_mapping_network_normalises_and_applies_its_layers():
    network = MappingNetwork(4, 3, num_layers=2, num_classes=5).double().eval()
    z, labels = randn(6, 4) * 3, torch.tensor([0, 4, 2, 2, 1, 3])
    embedded = network.embedding.weight[labels]
    x = torch.cat([each / each.square().mean(1, keepdim=True).sqrt() for each in (z, embedded)], 1)
    for layer in (network.layers[0], network.layers[2]):
        x = x @ layer.weight.T * 0.01 * math.sqrt(2 / x.shape[1]) + 0.01 * layer.bias
        x = torch.where(x > 0, x, 0.2 * x)
    assert torch.allclose(network(z, labels), x)
    assert torch.allclose(network(2 * z, labels), x), "only the direction of a latent counts"
    with pytest.raises(ValueError, match="give labels"):
        network(z)


def test_the_mean_of_w_is_plain_at_first_and_then_running_and_tracked_in_training_only():
    network = MappingNetwork(4, 3, num_layers=1, decay=0.75).double()
    expected = [0.0, 0.0, 0.0]
    for step in range(1, 9):
        mean = network.train()(randn(5, 4)).mean(0).tolist()
        share = max(1 / step, 0.25)
        expected = [old + share * (new - old) for old, new in zip(expected, mean, strict=True)]
        assert network.mean.tolist() == pytest.approx(expected, rel=1e-6)
        network.eval()(randn(5, 4))
        assert network.mean.tolist() == pytest.approx(expected, rel=1e-6)


def test_truncation_moves_styles_towards_their_mean_up_to_the_cutoff():
    network = MappingNetwork(4, 3).double().eval()
    network.mean.copy_(randn(3))
    w = randn(2, 3)
    full = w[:, None].expand(2, 5, 3)
    assert torch.equal(network.truncate(w, 5), full)
    assert torch.equal(network.truncate(w, 5, 0.0), network.mean.expand(2, 5, 3))
    half = network.mean + 0.3 * (full - network.mean)
    assert torch.allclose(network.truncate(w, 5, 0.3), half)
    for cutoff in (0, 2, 5, 9):
        expected = torch.where(torch.arange(5)[None, :, None] < cutoff, half, full)
        assert torch.allclose(network.truncate(w, 5, 0.3, cutoff), expected)


# All of them.

MAPS = (2, 4, 8, 8)
LAYERS = {
    "linear": (lambda: EqualizedLinear(4, 3), [(2, 4)]),
    "convolution": (lambda: EqualizedConv2d(4, 3, 3), [MAPS]),
    "up": (lambda: EqualizedConv2d(4, 3, 3, resample="up"), [MAPS]),
    "down": (lambda: EqualizedConv2d(4, 3, 3, resample="down"), [MAPS]),
    "pixel-norm": (PixelNorm, [MAPS]),
    "blur": (Blur, [MAPS]),
    "repeat": (RepeatPixels, [MAPS]),
    "upsampled": (lambda: UpsampledConv2d(4, 3), [MAPS]),
    "upsample": (BilinearUpsample, [MAPS]),
    "downsample": (BilinearDownsample, [MAPS]),
    "noise": (lambda: NoiseInjection(4, 8), [MAPS]),
    "adain": (lambda: AdaIN(4, 5), [MAPS, (2, 5)]),
    "mapping": (lambda: MappingNetwork(4, 3), [(2, 4)]),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_can_be_compiled_and_differentiated_twice(name):
    make, shapes = LAYERS[name]
    layer = make().double().eval()
    inputs = [randn(*shape).requires_grad_() for shape in shapes]

    def call(*inputs):
        torch.manual_seed(0)
        return layer(*inputs)

    expected = call(*inputs)
    torch.manual_seed(0)
    assert torch.equal(torch.jit.script(layer)(*inputs), expected)
    few = [each.detach()[..., :4, :4].requires_grad_() if each.dim() == 4 else each for each in inputs]
    if name != "noise":  # its fixed size aside, noise is added, which has no second derivative
        assert torch.autograd.gradgradcheck(call, few, fast_mode=True)
