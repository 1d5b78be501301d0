"""Preprocessing of images for networks trained on photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def require_photographs(data: DataSpec, name: str) -> None:
    """Raise OptionError for images without 1 or 3 channels."""
    if not data.is_image or data.shape[0] not in (1, 3):
        raise OptionError(
            f"extractor '{name}': images have {data.shape[0]} channels", "it needs 1 or 3; use --extractor classifier"
        )


def normalize(pixels: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Normalize pixels ``[N, 3, H, W]`` in [0, 255] by a mean and deviation in [0, 1]."""
    shift, scale = (pixels.new_tensor(each).view(1, 3, 1, 1) * 255 for each in (mean, deviation))
    return (pixels - shift) / scale


def resize(pixels: Tensor, size: int) -> Tensor:
    """Resize pixels ``[N, C, H, W]`` to ``[N, C, size, size]`` as TensorFlow 1 did, bit for bit as torch-fidelity.

    Bilinear from the first pixel on, without antialiasing; differentiable.
    """
    return _resize_axis(_resize_axis(pixels, 3, size), 2, size)


def resize_bicubic(pixels: Tensor, size: int) -> Tensor:
    """Resize pixels ``[N, C, H, W]`` to ``[N, C, size, size]`` in float, bicubic with antialiasing, as Pillow does.

    Values may leave the range of the pixels at edges.
    """
    return _interpolate(pixels, (size, size))


def resize_8bit(pixels: Tensor, size: int) -> Tensor:
    """Resize as `resize_bicubic`, but round to integers in [0, 255] after each axis, as Pillow does images of 8 bits.

    Rounding passes gradients unchanged.
    """
    for shape in ((pixels.shape[2], size), (size, size)):
        pixels = _interpolate(pixels, shape).clamp(0, 255)
        pixels = pixels + (pixels.round() - pixels).detach()
    return pixels


def _interpolate(pixels: Tensor, shape: tuple[int, int]) -> Tensor:
    return interpolate(pixels, shape, mode="bicubic", antialias=True, align_corners=False)


def _resize_axis(x: Tensor, axis: int, size: int) -> Tensor:
    edge = x.shape[axis]
    at = torch.arange(size, dtype=x.dtype, device=x.device) * float(np.float32(edge / size))
    low = at.long()
    share = (at - low).view([-1] + [1] * (3 - axis))
    below, above = (x.index_select(axis, index) for index in (low, (low + 1).clamp_max(edge - 1)))
    return below + (above - below) * share
