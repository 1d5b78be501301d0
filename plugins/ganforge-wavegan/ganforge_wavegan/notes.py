"""Data set of drawn notes with known fundamentals."""

from __future__ import annotations

import math

import torch
from ganforge import Dataset
from torch import Tensor

FUNDAMENTALS = (220.0, 261.63, 293.66, 329.63, 392.0, 440.0, 523.25, 587.33)
"""Eight notes of A minor pentatonic in Hz, from A3 to D5."""


class Notes(Dataset):
    """Plucked notes: three harmonics of random strength that decay at a random rate.

    Args:
        count: Number of examples; the eight notes take turns.
        length: Samples per example.
        rate: Samples per second.
    """

    def __init__(self, *, count: int = 4000, length: int = 1024, rate: int = 4000) -> None:
        if count < 1 or length < 1:
            raise ValueError(f"count={count} and length={length} must be at least 1")
        if rate < 4000:
            raise ValueError(f"rate={rate} must be at least 4000, for three harmonics")
        self.count, self.length, self.rate = count, length, rate

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        draw = torch.Generator().manual_seed(index)
        strengths = torch.rand(3, generator=draw) * torch.tensor([0.0, 0.5, 0.25]) + torch.tensor([1.0, 0.0, 0.0])
        decay, loudness = torch.rand(2, generator=draw).tolist()
        seconds = torch.arange(self.length) / self.rate
        angles = 2 * math.pi * FUNDAMENTALS[index % len(FUNDAMENTALS)] * seconds
        wave = strengths @ (torch.arange(1, 4)[:, None] * angles).sin() / strengths.sum()
        signal: Tensor = ((0.5 + 0.4 * loudness) * torch.exp(-(4 + 8 * decay) * seconds) * wave)[None]
        return signal
