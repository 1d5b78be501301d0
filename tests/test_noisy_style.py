"""Noise, leaky ReLU and AdaIN by Triton kernels equal the separate operations."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganforge import AdaIN, NoiseInjection, noisy_style
from ganforge.layers import noisy_style as module

triton = pytest.importorskip("triton")
SCRIPT = Path(__file__).with_name("interpreted_kernels.py")
INTEGERS = ("num_channels", "num_pixels", "noise_stride", "pixel_stride", "channel_stride", "span")
CONSTANTS = {"BLOCK_C": 64, "BLOCK_P": 32, "SPLITS": 32}


def test_elsewhere_they_are_the_layers():
    torch.manual_seed(0)
    noise, adain = NoiseInjection(3, 4, lr_multiplier=0.1), AdaIN(3, 5)
    torch.nn.init.normal_(noise.strength)
    x, w = torch.randn(2, 3, 4, 4), torch.randn(2, 5)
    torch.manual_seed(1)
    expected = adain(torch.nn.functional.leaky_relu(noise(x), 0.2), w)
    torch.manual_seed(1)
    assert torch.equal(noisy_style(x, noise.draw(x), noise.strength, 0.1, adain.affine(w)), expected)


@pytest.mark.exhaustive
def test_kernels_equal_separate_operations():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    output = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(output.stdout)
    assert len(found["errors"]) == 12
    for case, (result, *errors) in found["errors"].items():
        first, second = errors[:3], errors[3:]
        precise = case.endswith("float32")
        assert max(result, *first) < (1e-5 if precise else 5e-3), case
        assert max(second) < (1e-4 if precise else 0.5), case  # by the separate operations
    assert found["constants"] == [True] * 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "architecture"),
    [
        ("bf16", 80),
        ("fp32", 90),
        *(pytest.param(*each, marks=pytest.mark.exhaustive) for each in (("bf16", 90), ("fp32", 80))),
    ],
)
@pytest.mark.parametrize("kernel", ["statistics", "apply", "reduce", "gradient"])
def test_kernels_compile_for_gpus(kernel, dtype, architecture, tmp_path, monkeypatch):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from ganforge.layers import style_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(style_kernels, kernel)
    signature = dict.fromkeys(function.arg_names, f"*{dtype}")
    signature |= dict.fromkeys(INTEGERS, "i32") | {"factor": "fp32"} | dict.fromkeys(CONSTANTS, "constexpr")
    floats = {"table", "sums", "to_strength"} | ({"result"} if kernel in ("statistics", "reduce") else set())
    signature = {name: "*fp32" if name in floats else signature[name] for name in function.arg_names}
    source = ASTSource(function, signature, constexprs=CONSTANTS)
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32))
    assert f".target sm_{architecture}" in compiled.asm["ptx"]
    assert compiled.asm["cubin"]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 16, 256, 256), (2, 512, 4, 4), (1, 3, 20, 28), (1, 1, 1, 1)])
def test_tiles_are_powers_of_two_and_cover_all_pixels(shape, layout):
    x = torch.empty(shape, device="meta").contiguous(memory_format=layout)
    channels, pixels, splits = module._tiles(x)
    assert all(each & (each - 1) == 0 and each > 0 for each in (channels, pixels, splits))
    assert channels * pixels <= 2048
    assert splits * pixels <= max(pixels, 2 * shape[2] * shape[3])
