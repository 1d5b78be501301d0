"""Modulated convolution."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ganforge.layers.equalized import EqualizedConv2d, EqualizedLinear


class ModulatedConv2d(nn.Module):
    """Convolution with weights scaled by a style (Karras 2020, arXiv:1912.04958, equations 1 to 3). Scriptable.

    Weights of input map i are multiplied by the scale s_i, a learned affine function of the style. Weights of each
    output map are then divided by their norm, so that inputs of variance 1 give outputs of variance 1. Since a
    convolution is linear, both apply to the maps, before and after one convolution shared by all examples: sum_i (s_i
    w_ji / norm_j) * x_i = (sum_i w_ji * (s_i x_i)) / norm_j with norm_j^2 = sum_ik (s_i w_jik)^2. Scales start around
    1. A bias, if any, is an argument of the call.

    Args:
        channels_in: Number of input channels.
        channels_out: Number of output channels.
        kernel_size: Edge of the kernel; odd.
        w_dim: Length of a style vector.
        gain: Factor on the output.
        demodulate: Whether to divide by the norms, equation 3; false for layers to pixels.
        resample: ``none``; ``up`` to repeat each pixel twice along both axes first; or ``insert``. See
            `EqualizedConv2d`.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        w_dim: int,
        *,
        gain: float = 1.0,
        demodulate: bool = True,
        resample: Literal["none", "up", "insert"] = "none",
    ) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, channels_in)
        nn.init.ones_(self.affine.bias)
        self.convolution = EqualizedConv2d(
            channels_in, channels_out, kernel_size, gain=1.0 if demodulate else gain, resample=resample, bias=False
        )
        self.demodulate = demodulate
        self.variance = (kernel_size / gain) ** 2
        self.eps = 1e-8 / gain**2

    def forward(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map ``[N, channels_in, H, W]`` to ``[N, channels_out, H, W]``, or 2H x 2W.

        Styles are ``[N, w_dim]``; a bias ``[channels_out, 1, 1]`` is added.
        """
        scale: Tensor = self.affine(w)
        y: Tensor = self.convolution(x * scale[:, :, None, None])
        if not self.demodulate:
            return y if bias is None else y + bias
        # Products and means, since autocast computes squares and sums in float32.
        weight = self.convolution.scaled_weight()
        squares = (weight * weight).mean((2, 3))  # [channels_out, channels_in]
        norms = ((scale * scale) @ squares.T * self.variance + self.eps).rsqrt().to(y.dtype)[:, :, None, None]
        return y * norms if bias is None else torch.addcmul(bias, y, norms)
