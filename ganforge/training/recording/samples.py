"""Samples at each tick: their picture, diversity, patch distance and memorization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganforge.config.schema import TrainingConfig
from ganforge.core.images import grid, to_float, to_uint8
from ganforge.data.patches import PatchDistance
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.runs.checkpoint import digest_tensors
from ganforge.runs.marking import name_seeds, xmp_packet
from ganforge.sampling import generate
from ganforge.training.recording.health import measure_diversity
from ganforge.training.recording.memorization import Memorization
from ganforge.training.recording.sample_grids import POINTS, generate_samples, paint_samples
from ganforge.training.state import TrainingState

SCORED = 256  # number of samples whose memorization is measured at a score
REALS = 256  # number of real images used as the reference of diversity


class Samples:
    """Draws samples of the EMA generator from fixed seeds."""

    def __init__(self, data: PackedData, training: TrainingConfig) -> None:
        self._spec, self._count, self._seed = data.spec, training.samples, training.seed
        self._is_marked = training.marking and data.spec.is_image  # not plots of vectors and signals
        everything = torch.arange(len(data))
        self._reals = to_float(data.examples[_spread(everything, POINTS if len(data.spec.shape) == 1 else REALS)])
        comparable = data.spec.is_image and data.sources is None and len(self._reals) >= 4
        self._patches = PatchDistance(self._reals) if comparable else None
        self._memorization = Memorization.of(data, training)
        self._sources: Tensor | None = None
        self._targets: Tensor | None = None
        if data.sources is not None:  # held-out pairs show generalization
            held_out = is_held_out(len(data.sources), training.holdout).nonzero()[:, 0]
            chosen = _spread(held_out if len(held_out) else torch.arange(len(data.sources)), self._count)
            self._sources = data.sources.read_pixels(chosen)
            self._targets = data.read_pixels(chosen) if data.is_paired else None

    def draw(self, state: TrainingState) -> tuple[Tensor, dict[str, float]]:
        """Return a picture, uint8 ``[C, H, W]``, and the values of the samples by name that are defined."""
        if self._sources is not None:
            examples = generate(state.ema, len(self._sources), seed=self._seed, labels=to_float(self._sources))
            picture = paint_translations(self._sources, examples, self._targets)
        else:
            examples = generate_samples(state.ema, self._spec, self._count, self._seed)
            picture = paint_samples(
                examples, self._spec, self._reals, state.discriminator if state.is_adversarial else None
            )
        if min(len(examples), len(self._reals)) < 2:
            return picture, {}
        values = {"diversity": measure_diversity(examples, self._reals)}
        if self._patches is not None:
            values["patch_distance"] = self._patches(examples)
        if self._memorization is not None:
            values["memorization"] = self._memorization(examples)
        return picture, {name: round(value, 4) for name, value in values.items()}

    def mark(self, state: TrainingState, card: Mapping[str, Any]) -> bytes:
        """Return the XMP packet of the picture; empty unless it shows generated images and is to be marked."""
        if not self._is_marked:
            return b""
        count = self._count if self._sources is None else len(self._sources)
        of_weights = {**card, "digest": digest_tensors(state.ema.state_dict())}
        seeds = name_seeds(range(self._seed, self._seed + count))
        return xmp_packet(of_weights, seeds, with_real=self._sources is not None)

    def score(self, state: TrainingState) -> dict[str, float]:
        """Return the memorization of many samples for a row of scores; empty unless there are few examples."""
        if self._memorization is None:
            return {}
        samples = generate_samples(state.ema, self._spec, SCORED, self._seed)
        return {"memorization": round(self._memorization(samples), 4)}


def paint_reals(data: PackedData, count: int) -> Tensor | None:
    """Draw `count` evenly spaced real images or signals in cells of a sample grid, uint8 ``[C, H, W]``.

    Returns None for vectors, and for pairs: their grids hold real images.
    """
    if len(data.spec.shape) == 1 or (data.sources is not None and data.is_paired):
        return None
    reals = to_float(data.examples[_spread(torch.arange(len(data)), count)])
    return paint_samples(reals, data.spec, reals)


def paint_translations(sources: Tensor, made: Tensor, targets: Tensor | None) -> Tensor:
    """Draw source, output, and target if there is one; sources and targets are uint8, outputs in [-1, 1]."""
    sides = [sources, to_uint8(made), *(() if targets is None else (targets,))]
    if len({side.shape[1] for side in sides}) > 1:
        sides = [side.expand(-1, 3, -1, -1) if side.shape[1] == 1 else side[:, :3] for side in sides]
    height, width = made.shape[2:]
    sides = [interpolate(side.float(), (height, width), mode="nearest").to(torch.uint8) for side in sides]
    return grid(torch.cat(sides, dim=3), columns=max(1, round(math.sqrt(len(made) * height / (len(sides) * width)))))


def _spread(indices: Tensor, count: int) -> Tensor:
    """Return at most `count` evenly spaced indices."""
    return indices[torch.linspace(0, len(indices) - 1, min(count, len(indices))).long()]
