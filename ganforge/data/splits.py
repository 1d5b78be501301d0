"""Which examples are shown and which are not, and whose classes are known: functions of index, share and seed alone."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError


def is_held_out(count: int, share: float) -> Tensor:
    """Which of `count` examples are held out, bool ``[count]``: about `share` of them, by the CRC-32 of their index."""
    bound = share * 2**32
    return torch.tensor([zlib.crc32(index.to_bytes(8, "little")) < bound for index in range(count)], dtype=torch.bool)


def choose_labelled(labels: Tensor, num_classes: int, count: int, seed: int) -> Tensor:
    """Choose examples whose classes are to be known, as many of each class.

    Args:
        labels: Classes ``[N]`` of all examples.
        num_classes: K.
        count: How many are chosen; if it is no multiple of K, the first classes have one more.
        seed: Which ones are, follows from it.

    Returns:
        Indices ``[count]``, in ascending order.

    Raises:
        OptionError: Fewer than one of each class, or more than a class has.
    """
    if count < num_classes:
        raise OptionError(
            f"training.labels: {count} is too small", f"the least is {num_classes}, one for each of the classes"
        )
    shuffled = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = []
    for label in range(num_classes):
        wanted = count // num_classes + (label < count % num_classes)
        members = shuffled[labels[shuffled] == label]
        if len(members) < wanted:
            raise OptionError(
                f"training.labels: {count} is too large: class number {label} has only {len(members)} examples",
                f"the most for sure is {len(members) * num_classes}, or leave it out to use all labels",
            )
        chosen.append(members[:wanted])
    return torch.cat(chosen).sort().values
