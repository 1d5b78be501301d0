"""Runs the kernels of `noisy_style` by Triton's interpreter on the CPU and prints their errors as JSON.

Needs TRITON_INTERPRET=1 from the start, so tests run it in a process of its own.
"""

import json
from itertools import product

import torch
from torch.library import opcheck
from torch.nn.functional import leaky_relu

from ganforge.layers import noisy_style as fused

SHAPES = {"one split": (2, 3, 4, 5), "ragged": (1, 3, 5, 5), "empty split": (1, 3, 1, 5)}
TILES = {"one split": (4, 32, 1), "ragged": (2, 8, 2), "empty split": (4, 4, 4)}
FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def separate(x, noise, strength, factor, style):
    scale, shift = style[:, :, None, None].chunk(2, 1)
    maps = leaky_relu(x + factor * strength * noise, 0.2)
    centered = maps - maps.mean((2, 3), keepdim=True)
    return scale * centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt() + shift


def differentiate(function, x, noise, strength, style, gradient):
    """Return the result, its gradients, and gradients of a function of these."""
    wanted = [x, strength, style]
    result = function(x, noise, strength, 0.3, style)
    first = torch.autograd.grad(result, wanted, gradient, retain_graph=True)
    of_x, of_strength, _ = torch.autograd.grad(result, wanted, gradient, create_graph=True)
    return [result, *first, *torch.autograd.grad((of_x * of_x).sum() + of_strength.sum(), [*wanted, gradient])]


def measure(case, layout, dtype):
    """Return the relative errors to separate operations in float64 of the same numbers."""
    fused._tiles = lambda x: TILES[case]
    size, channels, height, width = SHAPES[case]
    shapes = [(size, channels, height, width), (size, 1, height, width), (channels, 1, 1), (size, 2 * channels)]
    x, noise, strength, style = (torch.randn(shape).to(dtype) for shape in shapes)
    x = (x + 30).contiguous(memory_format=FORMATS[layout])  # a mean far from 0 is no loss of digits
    gradient = torch.randn_like(x)
    given = (x, noise, strength, style, gradient)
    exact = differentiate(separate, *(each.double().requires_grad_() for each in given))
    found = differentiate(fused._FusedStyle.apply, *(each.requires_grad_() for each in given))
    if dtype == torch.float32:
        opcheck(fused._run, ("statistics", [x, noise, strength], 0.3), test_utils=("test_schema", "test_faketensor"))
    assert all(each.dtype == dtype for each in found)
    assert found[0].stride() == x.stride() == found[1].stride()
    return [
        ((each - other).norm() / other.norm().clamp(min=1e-3)).item() for each, other in zip(found, exact, strict=True)
    ]


def is_shift(layout, dtype):
    """Return whether a constant map becomes exactly its shift, and has no gradient that is not finite."""
    fused._tiles = lambda x: (4, 32, 2)
    x = torch.full((1, 3, 7, 7), 0.1).to(dtype).contiguous(memory_format=FORMATS[layout]).requires_grad_()
    style = torch.randn(1, 6).to(dtype)
    result = fused._FusedStyle.apply(x, torch.randn(1, 1, 7, 7).to(dtype), torch.zeros(3, 1, 1).to(dtype), 0.3, style)
    result.sum().backward()
    return torch.equal(result, style[:, 3:, None, None].expand_as(x)) and bool(x.grad.isfinite().all())


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    fused._run.register_kernel("cpu")(fused._run._init_fn)
    dtypes = (torch.float32, torch.bfloat16)
    errors = {
        f"{case}, {layout}, {str(dtype)[6:]}": measure(case, layout, dtype)
        for case, layout, dtype in product(SHAPES, FORMATS, dtypes)
    }
    constants = [is_shift(layout, dtype) for layout, dtype in product(FORMATS, dtypes)]
    print(json.dumps({"errors": errors, "constants": constants}))


if __name__ == "__main__":
    main()
