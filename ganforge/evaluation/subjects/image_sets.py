"""Image sets in a fixed order, identified by what determines their pixels."""

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


class ImageSet(ABC):
    """Images in a fixed order.

    Attributes:
        name: Name, such as ``real images``.
        count: Number of images.
        shape: ``(C, H, W)``.
        identity: JSON object that determines the pixels.
    """

    name: str
    count: int
    shape: tuple[int, int, int]
    identity: Mapping[str, Any]

    @abstractmethod
    def read(self, start: int, stop: int) -> Tensor:
        """Return images from `start` up to `stop`, uint8 ``[stop - start, C, H, W]`` in [0, 255]."""


class DataImages(ImageSet):
    """Images of packed data at some indices, int64 ``[N]``."""

    def __init__(self, data: PackedData, indices: Tensor, name: str = "real images") -> None:
        if not data.spec.is_image:
            raise DataError(f"{data.name} holds no images", "features need images")
        self.name = name
        self.data = data
        self.indices = indices
        self.count = len(indices)
        channels, height, width = data.spec.shape
        self.shape = (channels, height, width)
        self.identity = {"data": data.fingerprint, "indices": digest_indices(indices)}

    def read(self, start: int, stop: int) -> Tensor:
        return self.data.read_pixels(self.indices[start:stop])


def choose_split(data: PackedData, split: str, holdout: float) -> Tensor:
    """Return the indices of one of `SPLITS` in ascending order; raise OptionError if it is not found or empty."""
    if split not in SPLITS:
        raise OptionError(f"--split {split}: not found", nearest(split, SPLITS))
    if split == "all":
        return torch.arange(len(data))
    held_out = is_held_out(len(data), holdout)
    chosen = (held_out if split == "held-out" else ~held_out).nonzero()[:, 0]
    if not len(chosen):
        raise OptionError(
            f"--split {split}: {data.name} has no {'held-out' if split == 'held-out' else 'training'} examples",
            "train with --set training.holdout=0.1, or use --split all",
        )
    return chosen


def choose_some(indices: Tensor, count: int | None, seed: int) -> Tensor:
    """Return `count` random ones of int64 ``[N]`` in their order; all if `count` is None or not smaller."""
    if count is None or count >= len(indices):
        return indices
    order = torch.randperm(len(indices), generator=torch.Generator().manual_seed(seed))
    return indices[order[:count]].sort().values


def digest_indices(indices: Tensor) -> str:
    """Return the SHA-256 of int64 ``[N]``, or of condition vectors ``[N, K]``, as hexadecimal text."""
    kind, name = (torch.float32, "<f4") if indices.is_floating_point() else (torch.int64, "<i8")
    return hashlib.sha256(indices.to(kind).numpy().astype(name).tobytes()).hexdigest()
