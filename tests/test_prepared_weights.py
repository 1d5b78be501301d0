"""Weights that are scaled and cast together give the results of layers that scale their own."""

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from ganforge import EqualizedConv2d, EqualizedLinear, ModulatedConv2d
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.execution.prepared_weights import _Prepare

CPU = torch.device("cpu")


class Network(nn.Module):
    """All layers with a runtime scale, one of them twice."""

    def __init__(self):
        super().__init__()
        self.same = EqualizedConv2d(3, 4, 3, gain=1.3)
        self.up = EqualizedConv2d(4, 4, 3, resample="up", bias=False)
        self.down = EqualizedConv2d(4, 4, 3, resample="down")
        self.modulated = ModulatedConv2d(4, 4, 3, 5)
        self.linear = EqualizedLinear(5, 5, gain=1.7, lr_multiplier=0.01)
        self.plain = nn.Conv2d(4, 1, 1)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.normal_(parameter)

    def forward(self, x, w):
        maps = torch.tanh(self.down(self.up(self.same(x))))
        return self.plain(self.modulated(maps, self.linear(self.linear(w)))).square()


def make():
    torch.manual_seed(0)
    return Network(), torch.randn(2, 3, 4, 4, requires_grad=True), torch.randn(2, 5)


def differentiate(network, x, output):
    """Return gradients of a network's parameters, and those of a penalty on the gradient to its input."""
    parameters = list(network.parameters())
    first = torch.autograd.grad(output.sum(), parameters, retain_graph=True)
    (of_input,) = torch.autograd.grad(output.sum(), x, create_graph=True)
    return [output, *first, *torch.autograd.grad(of_input.square().sum(), parameters, allow_unused=True)]


def test_gradients_of_both_orders_are_those_of_layers_that_scale_themselves():
    network, x, w = make()
    expected = differentiate(network, x, network(x, w))
    found = differentiate(network, x, Engine(ExecutionPlan(), CPU).compute(network, x, w))
    assert len(found) == len(expected) == 1 + 2 * len(list(network.parameters()))
    for each, other in zip(found, expected, strict=True):
        assert (each is None) == (other is None)
        assert each is None or torch.allclose(each, other, rtol=1e-5, atol=1e-6)


def test_products_are_differentiable_twice_by_finite_differences():
    tensors = [torch.randn(3, 2, dtype=torch.float64, requires_grad=True) for _ in range(3)]

    def powers(*tensors):
        return [each**3 for each in _Prepare.apply(torch.float64, [0.5, 1.0, -3.0], *tensors)]

    assert torch.autograd.gradcheck(powers, tensors)
    assert torch.autograd.gradgradcheck(powers, tensors)


def test_bfloat16_follows_float32():
    network, x, w = make()
    expected = differentiate(network, x, network(x, w))
    found = differentiate(network, x, Engine(ExecutionPlan(precision="bfloat16"), CPU).compute(network, x, w))
    pairs = [(each, other) for each, other in zip(found, expected, strict=True) if other is not None]
    # A small gradient is a sum of larger terms, whose rounding differs between processors: errors relate to the median.
    typical = torch.stack([other.norm() for _, other in pairs]).median()
    for each, other in pairs:
        assert each.dtype == torch.float32
        assert (each - other).norm() < 0.05 * max(other.norm(), typical)
    errors, norms = (torch.cat([each.flatten() for each in side]).norm() for side in (
        [each - other for each, other in pairs], [other for _, other in pairs],
    ))  # fmt: skip
    assert errors < 0.02 * norms


class Masked(EqualizedLinear):
    """Changes the scaled weight."""

    def scaled_weight(self):
        return super().scaled_weight().tril()


class Own(EqualizedLinear):
    """Scales the weight itself."""

    def forward(self, x):
        return linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class Foreign(nn.Module):
    """Has a weight and a scale, but is no layer of ganforge."""

    def __init__(self, size_in, size_out, lr_multiplier):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size_out, size_in))
        self.scale = lr_multiplier

    def forward(self, x):
        return x @ self.weight.T * self.scale


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("layer", [EqualizedLinear, Masked, Own, Foreign])
def test_a_layer_of_an_author_is_scaled_once(layer, precision):
    network = nn.Sequential(layer(5, 5, lr_multiplier=0.3), EqualizedLinear(5, 5, gain=7.0))
    x = torch.randn(4, 5)
    with torch.no_grad():
        found = Engine(ExecutionPlan(precision=precision), CPU).compute(network, x)
        assert (found - network(x)).norm() < (1e-6 if precision == "float32" else 0.03) * found.norm()


def test_layers_scale_themselves_again_after_an_error():
    layer = EqualizedLinear(2, 2)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        Engine(ExecutionPlan(), CPU).compute(layer, torch.randn(1, 3))
    assert layer.prescaled is None
