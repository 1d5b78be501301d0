"""Convolutions fused with the doubling or halving of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, pad


class UpsampledConv2d(nn.Conv2d):
    """3x3 convolution of maps of twice the size, whose pixels are repeated. Scriptable.

    Equals `RepeatPixels` and ``nn.Conv2d`` with ``padding=1``, as one transposed convolution with a 4x4 kernel, which
    takes less than half of the multiplications.

    Args:
        channels_in: Number of input channels.
        channels_out: Number of output channels.
        bias: Whether to add a learned bias.
    """

    def __init__(self, channels_in: int, channels_out: int, *, bias: bool = True) -> None:
        super().__init__(channels_in, channels_out, 3, padding=1, bias=bias)
        self.widening: Tensor
        self.register_buffer("widening", make_widening(3).flip(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, channels_in, H, W]`` to ``[N, channels_out, 2H, 2W]``."""
        return conv_transpose2d(x, widen(self.weight, self.widening).transpose(0, 1), self.bias, stride=2, padding=1)

    def to_transposed(self) -> nn.ConvTranspose2d:
        """Return the transposed convolution with the weights of now."""
        layer = nn.ConvTranspose2d(self.in_channels, self.out_channels, 4, stride=2, padding=1, bias=False)
        layer.weight = nn.Parameter(widen(self.weight.detach(), self.widening).transpose(0, 1), requires_grad=False)
        layer.bias = self.bias
        return layer.train(self.training)


def make_widening(kernel_size: int) -> Tensor:
    """Return the matrix ``[(kernel_size + 1)^2, kernel_size^2]`` that turns a kernel into the resampling kernel.

    Upsampling covers each pixel by the kernel at two neighboring positions along an axis; their sum is one kernel. Its
    mean over 2 x 2 pixels halves maps. A transposed convolution, which doubles maps, applies it mirrored: the rows of
    the matrix in reverse order.
    """
    kernels = torch.eye(kernel_size**2).view(-1, kernel_size, kernel_size)
    wide = pad(kernels, (1, 1, 1, 1))
    wide = wide[:, 1:, 1:] + wide[:, 1:, :-1] + wide[:, :-1, 1:] + wide[:, :-1, :-1]
    return wide.flatten(1).T


def widen(weight: Tensor, widening: Tensor) -> Tensor:
    """Return kernels ``[channels_out, channels_in, K + 1, K + 1]`` of kernels ``[channels_out, channels_in, K, K]``."""
    channels_out, channels_in, size, _ = weight.shape
    kernels = weight.permute(0, 2, 3, 1).reshape(channels_out, size * size, channels_in)
    wide = torch.matmul(widening.to(kernels.dtype), kernels)
    return wide.view(channels_out, size + 1, size + 1, channels_in).permute(0, 3, 1, 2)
