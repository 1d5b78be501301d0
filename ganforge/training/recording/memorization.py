"""Memorization of few training images, measured on samples in milliseconds."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ganforge.config.schema import TrainingConfig
from ganforge.core.images import to_float
from ganforge.data.advice import FEW
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData

LEAST = 8
"""Minimum number of training images."""

EDGE = 16
"""Height and width of the compared images."""

NEIGHBORS = 50
"""Training images after the nearest one, at most half of all, whose mean distance is the unit."""

NEAR = 0.5
"""Distance of a copy in this unit; less if more than `USUAL` of the training images are as near to another."""

USUAL = 0.05
"""Share of the training images that may count as copies of others."""

CALIBRATING = 1000
"""Maximum number of training images that are compared with the others."""

BLOCK = 256


class Memorization:
    """Share of samples that are far nearer to one training image than to its rivals.

    The distance to the nearest training image is divided by the mean distance to the next `NEIGHBORS` (Carlini 2023,
    arXiv:2301.13188, section 4.2), so that blurred samples, which are near to all images, are no copies. Images are
    small, of mean 0 and norm 1, and may be mirrored: brightness and contrast do not matter.

    Args:
        data: Images.
        training: Settings; held-out images are left out.
    """

    def __init__(self, data: PackedData, training: TrainingConfig) -> None:
        indices = (~is_held_out(len(data), training.holdout)).nonzero()[:, 0]
        self._reals = torch.cat([_describe(to_float(data.examples[few])) for few in torch.split(indices, BLOCK)])
        self._neighbors = min(NEIGHBORS, (len(self._reals) - 1) // 2)
        chosen = torch.linspace(0, len(self._reals) - 1, min(CALIBRATING, len(self._reals))).long()
        distances = self._distances(data.examples[indices[chosen]])
        distances[torch.arange(len(chosen)), chosen] = torch.inf
        distances[distances < 1e-3] = torch.inf  # duplicates
        usual = self._compare(distances).sort().values
        self._threshold = min(NEAR, float(usual[math.ceil(USUAL * len(usual)) - 1]))

    @classmethod
    def of(cls, data: PackedData, training: TrainingConfig) -> Memorization | None:
        """Return the measure for data with few images; None for others."""
        count = len(data) - int(is_held_out(len(data), training.holdout).sum())
        return cls(data, training) if data.spec.is_image and data.sources is None and LEAST <= count < FEW else None

    def __call__(self, samples: Tensor) -> float:
        """Return the share of copies among samples ``[N, C, H, W]``: about 0.05 or less for unseen images."""
        return float((self._compare(self._distances(samples)) < self._threshold).float().mean())

    def _distances(self, images: Tensor) -> Tensor:
        """Return distances ``[N, M]`` to training images, of the image or its mirror image."""
        plain = [to_float(each).cpu() for each in torch.split(images, BLOCK)]
        sides = [[_describe(each) for each in plain], [_describe(each.flip(3)) for each in plain]]
        first, second = (torch.cdist(torch.cat(each), self._reals) for each in sides)
        return torch.minimum(first, second)

    def _compare(self, distances: Tensor) -> Tensor:
        """Return the smallest distance of each row ``[N]``, in units of the mean of the next ones."""
        near = distances.topk(self._neighbors + 1, largest=False).values
        return near[:, 0] / near[:, 1:].mean(1)


def _describe(images: Tensor) -> Tensor:
    """Return small images ``[N, D]`` of mean 0 and norm 1."""
    small = adaptive_avg_pool2d(images.float(), EDGE).flatten(1)
    return normalize(small - small.mean(1, keepdim=True), eps=1e-3)
