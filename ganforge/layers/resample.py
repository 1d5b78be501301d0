"""Repeated pixels, a binomial blur, and with both the resampling of maps without stairs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d


def repeat_pixels(x: Tensor, factor: int = 2) -> Tensor:
    """Maps ``[N, C, H, W]`` with each pixel repeated `factor` times along both axes. Scriptable.

    Not by ``interpolate``: an exported file would hold the whole of that function, newest filters included, which older
    releases of torch do not know and so refuse to load.
    """
    repeated: Tensor = torch.ops.aten.upsample_nearest2d(x, [factor * x.shape[2], factor * x.shape[3]])
    return repeated


class RepeatPixels(nn.Module):
    """Doubles maps by repeating each pixel. Scriptable."""

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, 2H, 2W]``."""
        return repeat_pixels(x)


class Blur(nn.Module):
    """The binomial filter [1, 2, 1] / 4 along both axes of each channel (Karras 2019, arXiv:1812.04948). Scriptable.

    It goes after doubling a map's size and before halving it. The pixels at the border are repeated beyond it, so that
    a constant stays what it is everywhere.
    """

    def __init__(self) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.kernel: Tensor
        self.register_buffer("kernel", torch.outer(row, row), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, C, H, W]`` to the same shape."""
        # Joined by hand: on a CPU faster than torch's own padding, and on CUDA its gradient is repeatable.
        x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        x = torch.cat([x[:, :, :, :1], x, x[:, :, :, -1:]], dim=3)
        channels = x.shape[1]
        return conv2d(x, self.kernel.to(x.dtype).expand(channels, 1, 3, 3), groups=channels)


class BilinearUpsample(nn.Module):
    """Doubles maps: each pixel repeated, then blurred, which is bilinear interpolation. Scriptable."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, 2H, 2W]``."""
        blurred: Tensor = self.blur(repeat_pixels(x))
        return blurred


class BilinearDownsample(nn.Module):
    """Halves maps: blurred, then averaged over 2 x 2 pixels. Scriptable."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = Blur()

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to ``[N, C, H/2, W/2]``."""
        return avg_pool2d(self.blur(x), 2)
