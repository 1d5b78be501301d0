"""Distance of small patches of samples from those of real images, which falls while noise becomes shapes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ganforge.layers.resample import repeat_pixels

PATCH = 7  # pixels per edge of a patch
DIRECTIONS = 128  # projections per scale
QUANTILES = 1024  # compared values of a projection
PER_IMAGE = 32  # patches of an image at each scale
SMALLEST = 16  # a map is halved while both edges stay this long or longer


class PatchDistance:
    """Distance of the patches of samples from those of real images.

    At each level of a Laplacian pyramid, patches of 7 x 7 pixels are compared by the sliced Wasserstein distance
    (Rabin 2011; for GANs Karras 2018, arXiv:1710.10196, section 5), here of first order.

    Args:
        reals: Real images ``[N, C, H, W]`` in [-1, 1], N >= 4.
    """

    def __init__(self, reals: Tensor) -> None:
        halves = reals[0::2], reals[1::2]
        self._expected = _project(halves[0])
        self._least = self._distances(halves[1])
        self._most = self._distances(reals.mean((0, 2, 3), keepdim=True).expand_as(halves[1]))

    def __call__(self, samples: Tensor) -> float:
        """Return the distance of samples ``[N, C, H, W]``, the largest of all scales.

        It is about 0 for other real images and 1 for images of one color; noise and repeated artifacts may exceed 1.
        """
        found = self._distances(samples)
        scales = zip(found, self._least, self._most, strict=True)
        return max(*((each - least) / max(most - least, 1e-6) for each, least, most in scales), 0.0)

    def _distances(self, images: Tensor) -> list[float]:
        scales = zip(self._expected, _project(images), strict=True)
        return [float((expected - found).abs().mean() / expected.std()) for expected, found in scales]


def _pyramid(images: Tensor) -> list[Tensor]:
    """Return the details of each scale, finest first, and the smallest images."""
    levels, coarse = [], images.cpu().float()
    while min(coarse.shape[2:]) >= 2 * SMALLEST and not any(edge % 2 for edge in coarse.shape[2:]):
        fine, coarse = coarse, avg_pool2d(coarse, 2)
        levels.append(fine - repeat_pixels(coarse))
    return [*levels, coarse]


def _project(images: Tensor) -> list[Tensor]:
    """Return quantiles of random projections of patches at each scale, ``[QUANTILES, DIRECTIONS]``."""
    generator = torch.Generator().manual_seed(0)
    size = min(PATCH, *images.shape[2:])
    length = images.shape[1] * size**2
    directions = torch.randn(length, DIRECTIONS, generator=generator) / math.sqrt(length)
    parts = []
    for few in torch.split(images, 16):  # those of 1024 x 1024 pixels are large
        parts.append([_take_patches(level, size, generator) @ directions for level in _pyramid(few)])
    # numpy sorts several times as fast as torch.
    ordered = [torch.from_numpy(np.sort(torch.cat(each).numpy(), 0)) for each in zip(*parts, strict=True)]
    return [each[torch.linspace(0, len(each) - 1, QUANTILES).round().long()] for each in ordered]


def _take_patches(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return `PER_IMAGE` patches of each image at random places, ``[N * PER_IMAGE, C * size * size]``."""
    views = images.unfold(2, size, 1).unfold(3, size, 1)  # [N, C, rows, columns, size, size]
    rows, columns = (torch.randint(n, (PER_IMAGE * len(images),), generator=generator) for n in views.shape[2:4])
    owners = torch.arange(len(images)).repeat_interleave(PER_IMAGE)
    return views[owners, :, rows, columns].flatten(1)
