"""Adaptive instance normalization."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ganforge.layers.equalized import EqualizedLinear


class AdaIN(nn.Module):
    """Adaptive instance normalization (Huang and Belongie 2017; Karras 2019, arXiv:1812.04948, equation 1). Scriptable.

    y_s (x - mean(x)) / std(x) + y_b per map, with scales y_s and shifts y_b a learned affine function of the style of
    length `w_dim`. Scales start around 1 and shifts around 0.
    """

    def __init__(self, channels: int, w_dim: int) -> None:
        super().__init__()
        self.affine = EqualizedLinear(w_dim, 2 * channels)
        with torch.no_grad():
            self.affine.bias[:channels] = 1.0

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Normalize maps ``[N, C, H, W]`` with styles ``[N, w_dim]``."""
        return normalize(x, self.affine(w))


def normalize(x: Tensor, style: Tensor) -> Tensor:
    """Normalize maps ``[N, C, H, W]``, with scales and shifts of a style ``[N, 2 C]``. Scriptable."""
    scale, shift = style[:, :, None, None].chunk(2, dim=1)
    if torch.jit.is_scripting():  # type: ignore[attr-defined]
        return _normalize(x, scale, shift)[0]
    normalized: Tensor = _Normalize.apply(x, scale, shift)[0]
    return normalized


def _normalize(x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return normalized maps, centered maps, and the inverses of their deviations.

    `torch.nn.functional.instance_norm` copies NHWC to NCHW and takes three times as long on a CPU.
    """
    centered = x - x.mean((2, 3), keepdim=True)
    variance = (centered * centered).mean((2, 3), keepdim=True)
    inverse = (variance + 1e-5).rsqrt().to(x.dtype)  # autocast on CUDA makes it float32
    return torch.addcmul(shift, centered, scale * inverse), centered, inverse


class _Normalize(torch.autograd.Function):
    """`_normalize` with a backward pass of few operations, which can be differentiated again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        normalized, centered, inverse = _normalize(x, scale, shift)
        ctx.save_for_backward(centered, scale, inverse)
        return normalized, centered, inverse

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor | None, of_centered: Tensor | None, of_inverse: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        centered, scale, inverse = ctx.saved_tensors
        share = 1 / (centered.shape[2] * centered.shape[3])
        to_x = to_scale = to_shift = None
        if gradient is not None:
            to_shift = gradient.sum((2, 3), keepdim=True)
            to_scale = (gradient * centered).sum((2, 3), keepdim=True) * inverse
            mean = torch.addcmul(to_shift, centered, to_scale * inverse)
            to_x = torch.sub(gradient, mean, alpha=share) * (scale * inverse)
        # The others are outputs only to be differentiated again.
        if of_centered is not None:
            of_centered = of_centered - of_centered.mean((2, 3), keepdim=True)
            to_x = of_centered if to_x is None else to_x + of_centered
        if of_inverse is not None:
            change = centered * (of_inverse * inverse * inverse * inverse * -share)
            to_x = change if to_x is None else to_x + change
        return to_x, to_scale, to_shift
