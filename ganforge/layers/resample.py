"""Resampling of maps: nearest, bilinear, and a binomial blur."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d


def repeat_pixels(x: Tensor, factor: int = 2) -> Tensor:
    """Upsample maps ``[N, C, H, W]`` by repeating each pixel `factor` times along both axes. Scriptable.

    Unlike ``interpolate``, exported files contain a single operator that older releases of torch can load. The dtype is
    kept, which autocast on CUDA would make float32.
    """
    repeated: Tensor = torch.ops.aten.upsample_nearest2d(x, [factor * x.shape[2], factor * x.shape[3]])
    return repeated.to(x.dtype)


class RepeatPixels(nn.Module):
    """Doubles the size of maps by repeating pixels. Scriptable."""

    def forward(self, x: Tensor) -> Tensor:
        return repeat_pixels(x)


class Blur(nn.Module):
    """Binomial filter [1, 2, 1] / 4 along both axes of maps ``[N, C, H, W]`` (Karras 2019, arXiv:1812.04948).

    Scriptable. Use it after upsampling and before downsampling. At the border it repeats pixels, so constants are
    preserved.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting() or torch.compiler.is_compiling():  # type: ignore[attr-defined]
            return _blur(x)
        blurred: Tensor = _Blur.apply(x)
        return blurred


def _blur(x: Tensor) -> Tensor:
    # Means of neighbors, twice. The first has a pixel more on each side, where it averages only existing pixels.
    x = x.contiguous(memory_format=torch.channels_last)
    return avg_pool2d(avg_pool2d(x, 2, 1, 1, count_include_pad=False), 2, 1)


class _Blur(torch.autograd.Function):
    """`_blur` is symmetric, so it is its own backward pass, of any order, and keeps no maps for that."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _blur(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        blurred: Tensor = _Blur.apply(gradient)
        return blurred


class BilinearUpsample(nn.Module):
    """Doubles the size of maps by bilinear interpolation. Scriptable."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        blurred: Tensor = self.blur(repeat_pixels(x))
        return blurred


class BilinearDownsample(nn.Module):
    """Halves the size of maps: blur, then averages of 2 x 2. Scriptable."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.blur(x), 2)
