"""All random numbers of a run follow from its seed and from where it stands, so that no random state is kept."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """A seed in [0, 2^63) from a run's seed, a purpose and a position, as far from its neighbours as any other."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def seed_everything(*parts: int | str) -> None:
    """Set torch's random state on every device to the derived seed."""
    torch.manual_seed(derive_seed(*parts))
