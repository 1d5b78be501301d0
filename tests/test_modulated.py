import math

import pytest
import torch
from torch.func import functional_call
from torch.nn.functional import conv2d

from ganforge import ModulatedConv2d


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def modulated_kernel(layer, w, demodulate):
    """The kernel of one example by equations 1 and 3, number by number where it matters."""
    scale = layer.affine.weight @ w / math.sqrt(len(w)) + layer.affine.bias
    weight = layer.convolution.weight / math.sqrt(layer.convolution.weight[0].numel())
    kernel = weight * scale[None, :, None, None]
    if demodulate:
        kernel = torch.stack([each / math.sqrt(each.square().sum().item() + 1e-8) for each in kernel])
    return kernel


@pytest.mark.parametrize("resample", ["none", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_it_equals_a_convolution_of_each_example_with_weights_of_its_own(kernel_size, demodulate, resample):
    layer = ModulatedConv2d(3, 4, kernel_size, 5, demodulate=demodulate, resample=resample).double()
    x, w = randn(6, 3, 4, 6), randn(6, 5)
    grown = x.repeat_interleave(2, 2).repeat_interleave(2, 3) if resample == "up" else x
    with torch.no_grad():
        expected = torch.cat(
            [
                conv2d(grown[n : n + 1], modulated_kernel(layer, w[n], demodulate), padding=kernel_size // 2)
                for n in range(6)
            ]
        )
        assert torch.allclose(layer(x, w), expected, rtol=1e-12, atol=1e-12)


def test_inputs_of_unit_variance_give_outputs_of_unit_variance_whatever_the_style():
    layer = ModulatedConv2d(6, 5, 1, 4)
    styles = torch.randn(3, 4) * torch.tensor([0.1, 1.0, 100.0])[:, None]
    outputs = layer(torch.randn(3, 6, 200, 200), styles)
    # The mean of 40,000 independent squared normal numbers has a deviation of sqrt(2 / 40,000).
    assert (outputs.square().mean((2, 3)) - 1).abs().max().item() < 5 * math.sqrt(2 / 40_000)
    plain = ModulatedConv2d(6, 5, 1, 4, demodulate=False)
    assert plain(torch.randn(3, 6, 9, 9), styles)[2].square().mean() > 100


def test_every_output_of_a_larger_kernel_has_unit_variance_too():
    layer = ModulatedConv2d(6, 5, 3, 4).double()
    # Independent unit inputs: an output's variance is the sum of its squared weights, here found one by one.
    basis = torch.eye(54, dtype=torch.float64).view(54, 6, 3, 3)
    for w in randn(3, 1, 4):
        response = layer(basis, w.expand(54, 4))[:, :, 1, 1]
        assert response.square().sum(0).tolist() == pytest.approx([1] * 5, rel=1e-6)


def test_scales_begin_around_one_and_a_common_factor_of_theirs_is_undone():
    layer = ModulatedConv2d(6, 5, 3, 4).double()
    x = randn(2, 6, 4, 4)
    assert torch.equal(layer.affine(torch.zeros(1, 4, dtype=torch.float64)), torch.ones(1, 6, dtype=torch.float64))
    neutral = layer(x, torch.zeros(2, 4, dtype=torch.float64))
    with torch.no_grad():
        layer.affine.bias.fill_(-7.0)
    assert torch.allclose(layer(x, torch.zeros(2, 4, dtype=torch.float64)), -neutral)


@pytest.mark.parametrize("resample", ["none", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_it_can_be_differentiated_twice_by_maps_styles_and_weights(demodulate, resample):
    layer = ModulatedConv2d(2, 3, 3, 2, demodulate=demodulate, resample=resample).double()
    weights = {name: parameter.detach().clone().requires_grad_() for name, parameter in layer.named_parameters()}

    def call(x, w, *values):
        return functional_call(layer, dict(zip(weights, values, strict=True)), (x, w))

    inputs = (randn(2, 2, 3, 3).requires_grad_(), randn(2, 2).requires_grad_(), *weights.values())
    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs, fast_mode=True)


@pytest.mark.parametrize("resample", ["none", "up"])
@pytest.mark.parametrize("demodulate", [True, False])
def test_the_compiled_layer_is_the_same(demodulate, resample):
    layer = ModulatedConv2d(2, 3, 3, 2, demodulate=demodulate, resample=resample)
    x, w = torch.randn(2, 2, 4, 4), torch.randn(2, 2)
    assert torch.equal(torch.jit.script(layer)(x, w), layer(x, w))


def test_it_has_no_bias():
    layer = ModulatedConv2d(2, 3, 3, 2)
    assert {name for name, _ in layer.named_parameters()} == {"affine.weight", "affine.bias", "convolution.weight"}
    assert not layer(torch.zeros(1, 2, 4, 4), torch.randn(1, 2)).any()
