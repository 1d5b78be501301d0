"""Equalized learning rate: linear layers and convolutions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, linear

from ganforge.layers.upsampled import make_widening, widen


class RuntimeScaled(nn.Module):
    """Base of layers that multiply their weight by `scale` and their bias by `lr_multiplier` at every call. Scriptable.

    Layers compute with `scaled_weight` and `scaled_bias`. Both multiply, unless ``prescaled`` has the products: the
    training engine computes those of all layers of a network by one operation, for the duration of a call. The
    parameters ``weight`` and ``bias`` are never scaled, so a subclass that multiplies them itself is correct too.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: float, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias: Tensor | None = None if bias is None else nn.Parameter(bias)
        self.scale = scale
        self.lr_multiplier = lr_multiplier
        self.prescaled: tuple[Tensor, Tensor | None] | None = None

    def scaled_weight(self) -> Tensor:
        """Return ``weight * scale``."""
        if torch.jit.is_scripting() or self.prescaled is None:  # type: ignore[attr-defined]
            return self.weight * self.scale
        return self.prescaled[0]

    def scaled_bias(self) -> Tensor | None:
        """Return ``bias * lr_multiplier``, or None if there is no bias."""
        bias = self.bias
        if torch.jit.is_scripting() or self.prescaled is None:  # type: ignore[attr-defined]
            return bias if bias is None or self.lr_multiplier == 1.0 else bias * self.lr_multiplier
        return self.prescaled[1]


class EqualizedLinear(RuntimeScaled):
    """Linear layer with weights scaled at runtime (Karras 2018, arXiv:1710.10196, section 4.1). Scriptable.

    Weights are stored as N(0, 1) / lr_multiplier and multiplied by ``gain / sqrt(num_inputs) * lr_multiplier``, biases
    by lr_multiplier. Adam's steps do not depend on the gradient's size, so every weight learns at the same speed
    relative to its range. A multiplier below 1 slows learning and leaves the initial output unchanged.

    Args:
        num_inputs: Number of inputs.
        num_outputs: Number of outputs.
        gain: Standard deviation of outputs for inputs of deviation 1; sqrt(2) before a ReLU (He 2015).
        lr_multiplier: Learning rate relative to the optimizer's.
    """

    def __init__(self, num_inputs: int, num_outputs: int, *, gain: float = 1.0, lr_multiplier: float = 1.0) -> None:
        weight = torch.randn(num_outputs, num_inputs) / lr_multiplier
        super().__init__(weight, torch.zeros(num_outputs), gain * num_inputs**-0.5 * lr_multiplier, lr_multiplier)
        self.bias: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, num_inputs]`` to ``[N, num_outputs]``."""
        return linear(x, self.scaled_weight(), self.scaled_bias())


class EqualizedConv2d(RuntimeScaled):
    """Convolution with weights scaled at runtime, as `EqualizedLinear`. Scriptable.

    Zero padding keeps the size of maps. With `resample`, ``up`` repeats each pixel twice along both axes before the
    convolution, ``down`` averages 2 x 2 pixels after it. Both are fused into one strided convolution with a kernel
    larger by one, which takes less than half of the multiplications. ``insert`` inserts zeros between pixels, as a
    transposed convolution without padding, for a `LowPass` after it. ``stride`` keeps every second pixel of a
    convolution without padding, for a `LowPass` before it.

    Args:
        channels_in: Number of input channels.
        channels_out: Number of output channels.
        kernel_size: Edge of the kernel; odd.
        gain: Standard deviation of outputs for inputs of deviation 1; sqrt(2) before a ReLU.
        resample: ``none``, ``up``, ``down``, ``insert`` or ``stride``.
        bias: Whether to add a learned bias.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        *,
        gain: float = 1.0,
        resample: Literal["none", "up", "down", "insert", "stride"] = "none",
        bias: bool = True,
    ) -> None:
        weight = torch.randn(channels_out, channels_in, kernel_size, kernel_size)
        super().__init__(
            weight, torch.zeros(channels_out) if bias else None, gain * (channels_in * kernel_size**2) ** -0.5
        )
        self.padding = kernel_size // 2
        self.resample: str = resample
        widening = make_widening(kernel_size)
        self.widening: Tensor
        self.register_buffer("widening", widening / 4 if resample == "down" else widening.flip(0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[N, channels_in, H, W]`` to ``[N, channels_out, H, W]``, or 2H x 2W, or H/2 x W/2.

        ``insert`` returns 2H + kernel_size - 2 rows, and as many columns.
        """
        weight, bias = self.scaled_weight(), self.scaled_bias()
        if self.resample == "none":
            return conv2d(x, weight, bias, padding=self.padding)
        if self.resample == "stride":
            return conv2d(x, weight, bias, stride=2)
        if self.resample == "insert":
            return conv_transpose2d(x, weight.transpose(0, 1), bias, stride=2)
        wide = widen(weight, self.widening)
        if self.resample == "down":
            return conv2d(x, wide, bias, stride=2, padding=self.padding)
        return conv_transpose2d(x, wide.transpose(0, 1), bias, stride=2, padding=self.padding)
