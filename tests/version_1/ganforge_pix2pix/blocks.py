"""What both networks are made of."""

from __future__ import annotations

from typing import Literal

from ganforge import DataSpec
from torch import nn

Normalization = Literal["batch", "instance"]


def normalize(kind: Normalization, channels: int) -> nn.Module:
    """The layer that normalises ``[N, C, H, W]``: over the batch, or each map of each example by itself."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels, affine=True)


def initialise(network: nn.Module) -> None:
    """N(0, 0.02) on all convolutions, N(1, 0.02) on the scales of normalisations, zero biases; as in the paper."""
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
    """Refuse data that a translation cannot be learned of.

    Raises:
        ValueError: Examples come alone, or with images of another size.
    """
    if not data.source_shape:
        raise ValueError(
            "needs data in pairs, but these come alone: take --data outlines, or --data pix2pix-folder for your own"
        )
    if data.source_shape[1:] != data.shape[1:]:
        (height, width), (above, beside) = data.shape[1:], data.source_shape[1:]
        raise ValueError(
            f"images are {width}x{height} and their sources {beside}x{above}, but both must have one size; "
            f"use --resolution {height}"
        )
