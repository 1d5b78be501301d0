"""Resampling of maps: nearest, bilinear, and a binomial blur."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d


def repeat_pixels(x: Tensor, factor: int = 2) -> Tensor:
    """Upsample maps ``[N, C, H, W]`` by repeating each pixel `factor` times along both axes. Scriptable.

    Unlike ``interpolate``, exported files contain a single operator that older releases of torch can load.
    """
    repeated: Tensor = torch.ops.aten.upsample_nearest2d(x, [factor * x.shape[2], factor * x.shape[3]])
    return repeated


class RepeatPixels(nn.Module):
    """Doubles the size of maps by repeating pixels. Scriptable."""

    def forward(self, x: Tensor) -> Tensor:
        return repeat_pixels(x)


class Blur(nn.Module):
    """Binomial filter [1, 2, 1] / 4 along both axes of maps ``[N, C, H, W]`` (Karras 2019, arXiv:1812.04948).

    Scriptable. Use it after upsampling and before downsampling. Padding repeats the border, so that constants are
    preserved.
    """

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.kernel: Tensor
        self.register_buffer("kernel", torch.outer(row, row), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        # Faster than torch's padding on a CPU, and with a deterministic gradient on CUDA.
        x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        x = torch.cat([x[:, :, :, :1], x, x[:, :, :, -1:]], dim=3)
        channels = x.shape[1]
        return conv2d(x, self.kernel.to(x.dtype).expand(channels, 1, 3, 3), groups=channels)


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
