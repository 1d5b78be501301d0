"""Layers whose weights all learn at one speed: equalised learning rate."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, linear, pad


class EqualizedLinear(nn.Module):
    """A linear layer that scales its weights when it runs (Karras 2018, arXiv:1710.10196, section 4.1). Scriptable.

    Weights are kept as N(0, 1) / lr_multiplier and multiplied by ``gain / sqrt(num_inputs) * lr_multiplier``, biases by
    lr_multiplier. So Adam, whose steps do not depend on the gradient's size, moves every weight at the same speed
    relative to its range; a multiplier below 1 slows the layer down and leaves what it computes at first as it is.

    Args:
        num_inputs: Numbers that go in.
        num_outputs: Numbers that come out.
        gain: Deviation of the outputs for inputs of deviation 1; sqrt(2) before a ReLU (He 2015).
        lr_multiplier: Speed of learning, relative to the optimiser's.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, gain: float = 1.0, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_outputs, num_inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.zeros(num_outputs))
        self.scale = gain * num_inputs**-0.5 * lr_multiplier
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """``[N, num_inputs]`` to ``[N, num_outputs]``."""
        return linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class EqualizedConv2d(nn.Module):
    """A convolution that scales its weights when it runs, as `EqualizedLinear` does. Scriptable.

    Zeros are padded so that maps keep their size. With `resample` it also doubles or halves it: ``up`` repeats each
    pixel twice along both axes and then convolves, ``down`` convolves and then averages 2 x 2 pixels. Both are done in
    one strided convolution of a kernel larger by one, which is the same in less than half of the multiplications.

    Args:
        channels_in: Channels of the maps that go in.
        channels_out: Channels of the maps that come out.
        kernel_size: Edge of the kernel; odd.
        gain: Deviation of the outputs for inputs of deviation 1; sqrt(2) before a ReLU.
        resample: ``none``, ``up`` or ``down``.
        bias: Whether each map has a learned number added.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        *,
        gain: float = 1.0,
        resample: Literal["none", "up", "down"] = "none",
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(channels_out)) if bias else None
        self.scale = gain * (channels_in * kernel_size**2) ** -0.5
        self.padding = kernel_size // 2
        self.resample: str = resample
        self.widen: Tensor
        self.register_buffer("widen", _widening(kernel_size, resample), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[N, channels_in, H, W]`` to ``[N, channels_out, H, W]``, or 2H x 2W, or H/2 x W/2."""
        weight = self.weight * self.scale
        if self.resample == "none":
            return conv2d(x, weight, self.bias, padding=self.padding)
        channels_out, channels_in, size, _ = weight.shape
        wide = (weight.reshape(-1, size * size) @ self.widen).view(channels_out, channels_in, size + 1, size + 1)
        if self.resample == "down":
            return conv2d(x, wide, self.bias, stride=2, padding=self.padding)
        return conv_transpose2d(x, wide.transpose(0, 1), self.bias, stride=2, padding=self.padding)


def _widening(kernel_size: int, resample: str) -> Tensor:
    """What makes of a kernel's numbers, row by row, those of a kernel larger by one that convolves and resamples.

    Each pixel meets the kernel at two neighbouring places along an axis: the sum of both is one kernel. Its mean over
    2 x 2 pixels halves maps; a transposed convolution, which doubles them, lays it down mirrored.

    Returns:
        ``[kernel_size^2, (kernel_size + 1)^2]``.
    """
    kernels = torch.eye(kernel_size**2).view(-1, kernel_size, kernel_size)
    wide = pad(kernels, (1, 1, 1, 1))
    wide = wide[:, 1:, 1:] + wide[:, 1:, :-1] + wide[:, :-1, 1:] + wide[:, :-1, :-1]
    return (wide / 4 if resample == "down" else wide.flip(1, 2)).flatten(1)
