"""Generator and discriminator of raw audio, of the paper's appendix D."""

from __future__ import annotations

from itertools import pairwise

import torch
from ganforge import DataSpec, FeatureDiscriminator, Generator
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

SHORTEST, LONGEST = 16, 63
"""Shortest and longest map of a network; the length of a signal is that, times a power of 4."""

KERNEL, STRIDE = 25, 4


def map_lengths(data: DataSpec) -> list[int]:
    """Return the lengths of maps from the shortest to the signal's, each 4 times the one before.

    Raises:
        ValueError: No signals, or an unsupported length. The message names the nearest valid length.
    """
    if len(data.shape) != 2:
        raise ValueError(f"needs signals [C, T], but an example is {list(data.shape)}; use --data waves")
    length = data.shape[1]
    powers = [STRIDE**count for count in range(1, 13)]
    fitting = [power for power in powers if length % power == 0 and SHORTEST <= length // power <= LONGEST]
    if not fitting:
        near = min(
            (start * power for power in powers for start in range(SHORTEST, LONGEST + 1)),
            key=lambda each: (abs(each - length), each),
        )
        raise ValueError(
            f"signals have {length} samples, but need {SHORTEST} to {LONGEST} times a power of {STRIDE}; "
            f"use --set data.length={near}"
        )
    start = length // fitting[-1]
    return [start * STRIDE**level for level in range(powers.index(fitting[-1]) + 2)]


def _channels(data: DataSpec, width: int) -> list[int]:
    """Return the channels of maps from the shortest to the signal's."""
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    doublings = len(map_lengths(data)) - 2
    return [*(width * 2**level for level in range(doublings, -1, -1)), data.shape[0]]


class WaveGenerator(Generator):
    """Transposed convolutions in one dimension, of 25 samples and stride 4.

    Args:
        data: Signals.
        width: Channels at a quarter of the signal's length, doubled at each shorter one; 64 in the paper.
        z_dim: Length of a latent vector.
    """

    def __init__(self, data: DataSpec, *, width: int = 64, z_dim: int = 100) -> None:
        super().__init__()
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        self.z_dim = z_dim
        start, (first, *others) = map_lengths(data)[0], _channels(data, width)
        layers: list[nn.Module] = [nn.Linear(z_dim, first * start), nn.Unflatten(1, (first, start))]
        for channels in others:
            layers += [nn.ReLU(), nn.ConvTranspose1d(first, channels, KERNEL, STRIDE, padding=11, output_padding=1)]
            first = channels
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate signals ``[N, C, T]`` in [-1, 1]."""
        signals: Tensor = self.layers(z)
        return signals


class PhaseShuffle(nn.Module):
    """Shifts each example by a random number of samples in training, with reflection at the ends.

    A discriminator could otherwise detect generated signals by the phase of artifacts that strides leave, which teaches
    the generator nothing.

    Args:
        radius: Largest shift in samples.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, maps: Tensor) -> Tensor:
        """Shift maps ``[N, C, T]``."""
        if not self.radius or not self.training:
            return maps
        shifts = torch.randint(-self.radius, self.radius + 1, (len(maps), 1, 1), device=maps.device)
        last = maps.shape[2] - 1
        places = (torch.arange(maps.shape[2], device=maps.device) + shifts).abs()
        return maps.gather(2, (last - (last - places).abs()).expand_as(maps))


class WaveDiscriminator(FeatureDiscriminator):
    """Strided convolutions in one dimension, with phase shuffle after all but the last.

    Args:
        data: Signals.
        width: Channels at a quarter of the signal's length, doubled at each shorter one; 64 in the paper.
        shuffle: Largest shift of phase shuffle in samples, from 0 for none to 15.
    """

    def __init__(self, data: DataSpec, *, width: int = 64, shuffle: int = 2) -> None:
        super().__init__()
        if not 0 <= shuffle < SHORTEST:
            raise ValueError(f"shuffle={shuffle} must be from 0 to {SHORTEST - 1}")
        channels = _channels(data, width)[::-1]
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, KERNEL, STRIDE, padding=11) for before, after in pairwise(channels)
        )
        self.shuffle = PhaseShuffle(shuffle)
        self.judge = nn.Linear(channels[-1] * map_lengths(data)[0], 1)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the last maps of signals ``[N, C, T]``, flattened to ``[N, F]``."""
        maps = images
        for level, layer in enumerate(self.layers):
            maps = leaky_relu(layer(self.shuffle(maps) if level else maps), 0.2)
        return maps.flatten(1)

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N]``."""
        logits: Tensor = self.judge(features)
        return logits.squeeze(1)
