"""Layers of StyleGAN2: of this project's form, and of the form of the published networks.

Published networks filter with zero padding, have biases at each size, and may limit activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganforge import (
    BilinearDownsample,
    BilinearUpsample,
    Blur,
    DataSpec,
    EqualizedConv2d,
    EqualizedLinear,
    LowPass,
    LowPassUpsample,
    ModulatedConv2d,
    NoiseInjection,
    PixelNorm,
    embed_labels,
    require_labels,
)
from ganforge.builtin.stylegan_layers import NOISE_SPEED, RELU_GAIN

Architecture = Literal["orig", "skip", "resnet"]
"""Architectures of figure 7 of the paper: pixels at the full size only, at each size, or residual blocks."""

Taps = Sequence[float]
"""Taps of a low-pass filter; empty for the blur that repeats pixels at the border."""


def validate_clamp(clamp: float | None) -> None:
    """Raise ValueError for a limit of activations that is not positive."""
    if clamp is not None and clamp <= 0:
        raise ValueError(f"clamp={clamp} must be above 0, such as 256")


class ClampedReLU(nn.Module):
    """Leaky ReLU 0.2, limited to [-limit, limit]; `limit` of None for no limit."""

    def __init__(self, limit: float | None) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        y = leaky_relu(x, 0.2)
        limit = self.limit
        return y if limit is None else y.clamp(-limit, limit)


class StyledConvolution(nn.Module):
    """Modulated convolution, noise, bias, and leaky ReLU 0.2; the next layer multiplies by its gain of sqrt(2)."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        size: tuple[int, int],
        w_dim: int,
        *,
        gain: float = RELU_GAIN,
        up: bool = False,
        taps: Taps = (),
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        resample: Literal["none", "up", "insert"] = "none" if not up else "insert" if taps else "up"
        self.convolution = ModulatedConv2d(channels_in, channels_out, 3, w_dim, gain=gain, resample=resample)
        # The blur commutes with the convolution, and has fewer channels after it.
        self.blur: nn.Module = nn.Identity()
        if up:
            self.blur = LowPass(taps, padding=_around(taps), gain=4.0) if taps else Blur()
        self.bias_last = bool(taps)
        self.noise = NoiseInjection(channels_out, size, lr_multiplier=NOISE_SPEED)
        self.bias = nn.Parameter(torch.zeros(channels_out, 1, 1))
        self.activation = ClampedReLU(None if clamp is None else clamp / RELU_GAIN)

    def forward(self, x: Tensor, w: Tensor, noise: str) -> Tensor:
        bias = self.bias.to(x.dtype)
        maps = self.blur(self.convolution(x, w, None if self.bias_last else bias))
        if self.bias_last:  # zero padding does not preserve constants
            maps = maps + bias
        styled: Tensor = self.activation(self.noise(maps, noise))
        return styled


class ResidualHalving(nn.Module):
    """Two convolutions, the second downsampling, plus a downsampling 1 x 1 convolution; divided by sqrt(2)."""

    def __init__(self, channels_in: int, channels_out: int, taps: Taps = (), clamp: float | None = None) -> None:
        super().__init__()
        self.main = nn.Sequential(*make_halving(channels_in, channels_out, taps, clamp))
        skip = EqualizedConv2d(
            channels_in, channels_out, 1, gain=2**-0.5, resample="none" if taps else "down", bias=False
        )
        self.skip = nn.Sequential(make_downsample(taps) if taps else Blur(), skip)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.skip(x), self.main(x), alpha=2**-0.5)


def make_residual_halving(channels_in: int, channels_out: int, taps: Taps, clamp: float | None) -> list[nn.Module]:
    """Return a residual block."""
    return [ResidualHalving(channels_in, channels_out, taps, clamp)]


def make_halving(channels_in: int, channels_out: int, taps: Taps, clamp: float | None) -> list[nn.Module]:
    """Return the layers of two convolutions, the second downsampling."""
    return [
        EqualizedConv2d(channels_in, channels_in, 3, gain=RELU_GAIN),
        ClampedReLU(clamp),
        LowPass(taps, padding=_around(taps, 1)) if taps else Blur(),
        EqualizedConv2d(channels_in, channels_out, 3, gain=RELU_GAIN, resample="stride" if taps else "down"),
        ClampedReLU(clamp),
    ]


def make_skip(channels_in: int, channels_out: int, gain: float, taps: Taps) -> nn.Module:
    """Return a 1 x 1 convolution to maps of twice the size, of a generator with residuals."""
    return nn.Sequential(EqualizedConv2d(channels_in, channels_out, 1, gain=gain, bias=False), make_upsample(taps))


def make_upsample(taps: Taps) -> nn.Module:
    """Return a layer that doubles maps."""
    return LowPassUpsample(taps) if taps else BilinearUpsample()


def make_downsample(taps: Taps) -> nn.Module:
    """Return a layer that halves maps."""
    return LowPass(taps, padding=_around(taps), stride=2) if taps else BilinearDownsample()


def _around(taps: Taps, margin: int = 0) -> tuple[int, int]:
    """Return the zero padding that centers a filter over a resampling of factor 2."""
    return (len(taps) - 1) // 2 + margin, (len(taps) - 2) // 2 + margin


class LabelMapping(nn.Module):
    """Mapping network from labels to vectors, with which a discriminator's outputs are multiplied (Karras 2020,
    arXiv:2006.06676).
    """

    def __init__(self, data: DataSpec, width: int, num_layers: int) -> None:
        super().__init__()
        self.embedding = embed_labels(data, width)
        self.normalize = PixelNorm()
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([width] * (num_layers + 1)):
            layers += [EqualizedLinear(size_in, size_out, gain=RELU_GAIN, lr_multiplier=0.01), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)

    def forward(self, labels: Tensor | None) -> Tensor:
        """Map labels to vectors ``[N, width]``."""
        mapped: Tensor = self.layers(self.normalize(self.embedding(require_labels(labels))))
        return mapped
