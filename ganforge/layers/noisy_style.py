"""Noise, leaky ReLU and AdaIN in one function; on CUDA by two kernels, and two in the backward pass."""

from __future__ import annotations

import os
import shutil
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn.functional import leaky_relu

from ganforge.layers.adain import normalize

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def noisy_style(x: Tensor, noise: Tensor, strength: Tensor, factor: float, style: Tensor) -> Tensor:
    """Add noise to maps, apply leaky ReLU 0.2, and normalize as `AdaIN`. Twice differentiable.

    On CUDA kernels in Triton compute this, where Triton is installed and finds a C compiler. The results are those of
    the separate operations up to rounding.

    Args:
        x: Maps ``[N, C, H, W]``.
        noise: One map for each image, ``[N, 1, H, W]``.
        strength: Scale of the noise of each channel, ``[C, 1, 1]``.
        factor: Factor on `strength`.
        style: Scales and shifts, ``[N, 2 C]``.

    Returns:
        ``[N, C, H, W]`` in the memory format of `x`.
    """
    if x.is_cuda and x.dtype in _DTYPES and not torch.compiler.is_compiling() and _has_triton():
        styled: Tensor = _FusedStyle.apply(x, noise.contiguous(), strength.contiguous(), factor, style.contiguous())
        return styled
    return _plain(x, noise, strength, factor, style)


def _plain(x: Tensor, noise: Tensor, strength: Tensor, factor: float, style: Tensor) -> Tensor:
    noisy = torch.addcmul(x, strength.to(x.dtype), noise, value=factor)
    return normalize(leaky_relu(noisy, 0.2), style)


@cache
def _has_triton() -> bool:
    has_compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    if find_spec("triton") is None or not has_compiler:
        return False
    return not torch.cuda.is_available() or torch.cuda.get_device_capability() >= (8, 0)


class _FusedStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor, strength: Tensor, factor: float, style: Tensor) -> Tensor:
        maps = x.contiguous(memory_format=_memory_format(x))
        (statistics,) = _run("statistics", [maps, noise, strength], factor)
        ctx.save_for_backward(x, noise, strength, style, statistics)
        ctx.factor = factor
        styled: Tensor = _run("apply", [maps, noise, strength, style, statistics], factor)[0]
        return styled

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, noise, strength, style, statistics = ctx.saved_tensors
        if torch.is_grad_enabled():  # differentiable again
            styled = _plain(x, noise, strength, ctx.factor, style)
            wanted = [each for each in (x, strength, style) if each.requires_grad]
            found = iter(torch.autograd.grad(styled, wanted, gradient, create_graph=True))
            to_x, to_strength, to_style = (next(found) if each.requires_grad else None for each in (x, strength, style))
            return to_x, None, to_strength, None, to_style
        layout = _memory_format(x)
        given = [x.contiguous(memory_format=layout), noise, strength, style, statistics]
        given.append(gradient.contiguous(memory_format=layout))
        to_x, to_style, parts = _run("gradient", [*given, *_run("reduce", given, ctx.factor)], ctx.factor)
        return to_x, None, parts.sum((0, 1)).view_as(strength).to(strength.dtype), None, to_style


@custom_op("ganforge::style_kernel", mutates_args=(), device_types="cuda")
def _run(kernel: str, given: list[Tensor], factor: float) -> list[Tensor]:
    """Run a kernel of `style_kernels`; `given` begins with maps, noise and strengths."""
    from ganforge.layers import style_kernels

    results = _new_results(kernel, given)
    x, noise = given[:2]
    images, channels, height, width = x.shape
    pixels = height * width
    block_channels, block_pixels, splits = _tiles(x)
    is_nhwc = _memory_format(x) == torch.channels_last
    sizes = (channels, pixels, pixels if noise.shape[0] > 1 else 0, *((channels, 1) if is_nhwc else (1, pixels)))
    grid = (images, -(-channels // block_channels), splits)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        getattr(style_kernels, kernel)[grid](
            *results, *given, factor, *sizes, -(-pixels // splits), block_channels, block_pixels, splits
        )
    return results


def _new_results(kernel: str, given: list[Tensor]) -> list[Tensor]:
    x = given[0]
    splits = _tiles(x)[2]
    if kernel == "apply":
        return [torch.empty_like(x)]
    if kernel == "gradient":
        parts = x.new_empty(x.shape[0], splits, x.shape[1], dtype=torch.float32)
        return [torch.empty_like(x), torch.empty_like(given[3]), parts]
    return [x.new_empty(x.shape[0], 2, splits, x.shape[1], dtype=torch.float32)]


_run.register_fake(lambda kernel, given, factor: _new_results(kernel, given))


def _memory_format(x: Tensor) -> torch.memory_format:
    is_nhwc = x.stride(1) == 1 and not x.is_contiguous()
    return torch.channels_last if is_nhwc else torch.contiguous_format


def _tiles(x: Tensor) -> tuple[int, int, int]:
    """Return channels and pixels of a tile, and the number of splits of the pixels; all are powers of two."""
    channels, pixels = (1 << (size - 1).bit_length() for size in (x.shape[1], x.shape[2] * x.shape[3]))
    wide = 64 if _memory_format(x) == torch.channels_last else max(1, 1024 // pixels)
    block_channels = min(channels, wide)
    block_pixels = min(pixels, 2048 // block_channels)
    return block_channels, block_pixels, max(1, min(32, pixels // (8 * block_pixels)))
