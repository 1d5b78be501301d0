"""Holdout and label splits: functions of index, share and seed."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError


def is_held_out(count: int, share: float) -> Tensor:
    """Return a bool mask ``[count]`` of held-out examples: about `share` of them, by the CRC-32 of their index."""
    bound = share * 2**32
    return torch.tensor([zlib.crc32(index.to_bytes(8, "little")) < bound for index in range(count)], dtype=torch.bool)


def choose_labeled(labels: Tensor, num_classes: int, count: int, seed: int) -> Tensor:
    """Choose a class-balanced subset of `count` examples; return sorted indices ``[count]``.

    The first ``count % num_classes`` classes get one more.

    Raises:
        OptionError: `count` is less than the number of classes, or more than a class provides.
    """
    if count < num_classes:
        raise OptionError(
            f"training.labels: {count} is too small", f"the minimum is {num_classes}, one for each of the classes"
        )
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = []
    for label in range(num_classes):
        wanted = count // num_classes + (label < count % num_classes)
        members = shuffled[labels[shuffled] == label]
        if len(members) < wanted:
            raise OptionError(
                f"training.labels: {count} is too large: class number {label} has only {len(members)} examples",
                f"use at most {len(members) * num_classes}, or omit it to use all labels",
            )
        chosen.append(members[:wanted])
    return torch.cat(chosen).sort().values
