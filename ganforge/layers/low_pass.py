"""Low-pass filters with zero padding, alone and with resampling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pad


class LowPass(nn.Module):
    """Convolution with a filter along both axes of maps (Karras 2020, arXiv:1912.04958). Scriptable.

    Args:
        taps: Taps of the filter along one axis, such as (1, 3, 3, 1); divided by their sum.
        padding: Zeros before and after the maps along each axis; negative to crop.
        gain: Factor on the output.
        stride: 1, or 2 to keep every second pixel along both axes.
    """

    def __init__(
        self, taps: Sequence[float], *, padding: tuple[int, int] = (0, 0), gain: float = 1.0, stride: int = 1
    ) -> None:
        super().__init__()
        self.padding = [*padding, *padding]
        self.stride = stride
        self.kernel: Tensor
        self.register_buffer("kernel", _normalize(taps, gain**0.5).flip(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps ``[N, C, H, W]``."""
        kernel = self.kernel.to(x.dtype)
        padded = pad(x, self.padding)
        planes = padded.reshape(-1, 1, padded.shape[2], padded.shape[3])
        rows = conv2d(planes, kernel.view(1, 1, -1, 1), stride=[self.stride, 1])
        planes = conv2d(rows, kernel.view(1, 1, 1, -1), stride=[1, self.stride])
        return planes.reshape(-1, x.shape[1], planes.shape[2], planes.shape[3])


class LowPassUpsample(nn.Module):
    """Doubles the size of maps: inserts zeros between pixels, then a low-pass filter with gain 4. Scriptable.

    Args:
        taps: Taps of the filter, see `LowPass`.
    """

    def __init__(self, taps: Sequence[float]) -> None:
        super().__init__()
        self.crop = len(taps) // 2 - 1
        self.odd = len(taps) % 2 == 1
        self.kernel: Tensor
        self.register_buffer("kernel", _normalize(taps, 2.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, C, H, W]`` to ``[N, C, 2H, 2W]``."""
        kernel = self.kernel.to(x.dtype)
        planes = x.reshape(-1, 1, x.shape[2], x.shape[3])
        planes = conv_transpose2d(planes, kernel.view(1, 1, -1, 1), stride=[2, 1], padding=[self.crop, 0])
        planes = conv_transpose2d(planes, kernel.view(1, 1, 1, -1), stride=[1, 2], padding=[0, self.crop])
        if self.odd:
            planes = pad(planes, [0, -1, 0, -1])
        return planes.reshape(-1, x.shape[1], planes.shape[2], planes.shape[3])


def _normalize(taps: Sequence[float], gain: float) -> Tensor:
    total = sum(taps)
    if len(taps) < 2 or total <= 0:
        raise ValueError(f"filter={tuple(taps)} must have two taps or more, and a positive sum, such as 1,3,3,1")
    return torch.tensor([each * gain / total for each in taps])
