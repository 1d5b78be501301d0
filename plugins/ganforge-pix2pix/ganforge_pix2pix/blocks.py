"""Layers and checks of both networks."""

from __future__ import annotations

from typing import Literal

from ganforge import DataSpec
from torch import nn

Normalization = Literal["batch", "instance"]


def normalize(kind: Normalization, channels: int) -> nn.Module:
    """Return a normalization layer for ``[N, C, H, W]``: batch norm or instance norm."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def initialize(network: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02) and scales of normalization from N(1, 0.02); biases are 0, as in the paper."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, (nn.BatchNorm2d, nn.InstanceNorm2d)):
            nn.init.normal_(module.weight, 1.0, 0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def require_pairs(data: DataSpec) -> None:
    """Raise ValueError if data are not pairs of one size."""
    if not data.source_shape:
        raise ValueError(
            "needs paired data, but these are single images; use --data outlines, or --data pix2pix-folder for your own"
        )
    if data.source_shape[1:] != data.shape[1:]:
        (height, width), (source_height, source_width) = data.shape[1:], data.source_shape[1:]
        raise ValueError(
            f"images are {width}x{height} and their sources {source_width}x{source_height}, but must be equal; "
            f"use --resolution {width if width == height else f'{width}x{height}'}"
        )
