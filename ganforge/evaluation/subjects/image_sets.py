"""Sets of images to be compared: each knows what decides its pixels, and gives any stretch of them."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ganforge.contract.errors import DataError, OptionError, nearest
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData

SPLITS = ("all", "train", "held-out")
"""Parts of data: everything, what a run was shown, what it was not."""


class ImageSet(ABC):
    """Images in a fixed order.

    Attributes:
        name: What they are, in words, such as ``real images``.
        count: Their number.
        shape: ``(C, H, W)``.
        identity: All that decides their pixels, as JSON knows it: equal identities are equal images.
    """

    name: str
    count: int
    shape: tuple[int, int, int]
    identity: Mapping[str, Any]

    @abstractmethod
    def read(self, start: int, stop: int) -> Tensor:
        """Images from `start` to before `stop`, uint8 ``[stop - start, C, H, W]`` in [0, 255]."""


class DataImages(ImageSet):
    """Some images of packed data.

    Args:
        data: Where they are.
        indices: Which, int64 ``[N]``.
        name: What to call them.
    """

    def __init__(self, data: PackedData, indices: Tensor, name: str = "real images") -> None:
        if not data.spec.is_image:
            raise DataError(f"{data.name} holds vectors", "only images can be compared by what a network sees in them")
        self.name = name
        self.data = data
        self.indices = indices
        self.count = len(indices)
        channels, height, width = data.spec.shape
        self.shape = (channels, height, width)
        self.identity = {"data": data.fingerprint, "indices": digest_indices(indices)}

    def read(self, start: int, stop: int) -> Tensor:
        """See `ImageSet.read`."""
        images = torch.empty(stop - start, *self.shape, dtype=torch.uint8)
        self.data.gather(self.indices[start:stop], images)
        return images


def choose_split(data: PackedData, split: str, holdout: float) -> Tensor:
    """Indices of a part of the data, in ascending order.

    Args:
        data: Of which.
        split: One of `SPLITS`.
        holdout: Share of the data that the run never showed.

    Raises:
        OptionError: There is no such part, or nothing was held out.
    """
    if split not in SPLITS:
        raise OptionError(f"--split {split}: there is no such part of the data", nearest(split, SPLITS))
    if split == "all":
        return torch.arange(len(data))
    held_out = is_held_out(len(data), holdout)
    chosen = (held_out if split == "held-out" else ~held_out).nonzero()[:, 0]
    if not len(chosen):
        raise OptionError(
            f"--split {split}: of {data.name} there is nothing {'held out' if split == 'held-out' else 'left'}",
            "train with --set training.holdout=0.1, or take --split all",
        )
    return chosen


def choose_some(indices: Tensor, count: int | None, seed: int) -> Tensor:
    """As many of `indices` as asked for, drawn from a seed; all of them, in their order, if there are no more.

    Args:
        indices: int64 ``[N]``.
        count: None for all.
        seed: Which ones are drawn, follows from it.
    """
    if count is None or count >= len(indices):
        return indices
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed))
    return indices[order[:count]].sort().values


def digest_indices(indices: Tensor) -> str:
    """SHA-256 of int64 ``[N]``, as hexadecimal text."""
    return hashlib.sha256(indices.to(torch.int64).numpy().astype("<i8").tobytes()).hexdigest()
