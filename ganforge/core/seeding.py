"""Random seeds derived from a run's seed and position, so that no random state is saved."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """Derive a seed in [0, 2^63) from a run's seed, a purpose and a position, by SHA-256."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def seed_everything(*parts: int | str) -> None:
    """Set torch's random state on every device to the derived seed."""
    seed = derive_seed(*parts)
    if torch.accelerator.is_available():
        torch.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)  # torch.manual_seed takes 0.2 ms for absent devices
