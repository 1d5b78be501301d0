"""A style sets how strongly each feature map enters a convolution, without a look at the maps themselves."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.layers.equalized import EqualizedConv2d, EqualizedLinear


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled by a style (Karras 2020, arXiv:1912.04958, equations 1 to 3). Scriptable.

    The weights from input map i are multiplied by the scale s_i, which a learned affine function reads from the style;
    then those to each output map are divided by their norm, so that inputs of variance 1 give outputs of variance 1
    whatever the style. Both are done to the maps instead of the weights, before and after one convolution that is the
    same for all examples, since a convolution is linear:
    sum_i (s_i w_ji / norm_j) * x_i = (sum_i w_ji * (s_i x_i)) / norm_j with norm_j^2 = sum_ik (s_i w_jik)^2.
    Scales begin around 1. There is no bias: it comes after the noise.

    Args:
        channels_in: Channels of the maps that go in.
        channels_out: Channels of the maps that come out.
        kernel_size: Edge of the kernel; odd.
        w_dim: Length of a style vector.
        demodulate: Whether to divide by the norms, equation 3; not done where maps become pixels.
        resample: ``none``, or ``up`` to repeat each pixel twice along both axes first, as `EqualizedConv2d` does.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        w_dim: int,
        *,
        demodulate: bool = True,
        resample: Literal["none", "up"] = "none",
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, channels_in)
        nn.init.ones_(self.affine.bias)
        self.convolution = EqualizedConv2d(channels_in, channels_out, kernel_size, resample=resample, bias=False)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps ``[N, channels_in, H, W]`` to ``[N, channels_out, H, W]``, or 2H x 2W, by styles ``[N, w_dim]``."""
        scale: Tensor = self.affine(w)
        y: Tensor = self.convolution(x * scale[:, :, None, None])
        if not self.demodulate:
            return y
        squares = (self.convolution.weight * self.convolution.scale).square().sum((2, 3))  # [channels_out, channels_in]
        norms = torch.rsqrt(scale.square() @ squares.T + 1e-8)
        return y * norms[:, :, None, None]
