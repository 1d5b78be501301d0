"""What a run on data in pairs shows of itself: what its generator was given, what it made of it, what was wanted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganforge.contract.networks import Generator
from ganforge.core.images import grid, to_float, to_uint8
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.sampling import generate


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some pairs, as they are packed.

    Attributes:
        sources: What the generator is given, uint8 ``[N, S, h, w]``.
        wanted: What it should make of that, uint8 ``[N, C, H, W]``.
    """

    sources: Tensor
    wanted: Tensor

    def translate(self, generator: Generator, seed: int) -> Tensor:
        """What a generator makes of the sources: ``[N, C, H, W]`` in [-1, 1]; the first has this seed's latents."""
        return generate(generator, len(self.sources), seed=seed, labels=to_float(self.sources))

    def paint(self, made: Tensor) -> Tensor:
        """A picture, uint8 ``[C, rows, columns]``: source, what was made of it, and what was wanted, side by side."""
        sides = [self.sources, to_uint8(made), self.wanted]
        if len({side.shape[1] for side in sides}) > 1:
            sides = [side.expand(-1, 3, -1, -1) if side.shape[1] == 1 else side[:, :3] for side in sides]
        height, width = self.wanted.shape[2:]
        sides = [side if side.shape[2:] == (height, width) else _resize(side, height, width) for side in sides]
        return grid(torch.cat(sides, dim=3), columns=max(1, round(math.sqrt(len(made) * height / (3 * width)))))


def choose_pairs(data: PackedData, count: int, holdout: float) -> Pairs:
    """Pairs from all over the data, or of those held out if any are, for they show whether it learned more than them.

    Args:
        data: In pairs.
        count: At most so many.
        holdout: Share of the data that is held out.
    """
    assert data.sources is not None
    held_out = is_held_out(len(data), holdout).nonzero()[:, 0]
    among = held_out if len(held_out) else torch.arange(len(data))
    chosen = among[torch.linspace(0, len(among) - 1, min(count, len(among))).long()]
    return Pairs(data.sources.examples[chosen], data.examples[chosen])


def _resize(images: Tensor, height: int, width: int) -> Tensor:
    """Pixels as large squares or fewer of them; uint8 ``[N, C, h, w]`` to ``[N, C, height, width]``."""
    return interpolate(images.float(), (height, width), mode="nearest").to(torch.uint8)
