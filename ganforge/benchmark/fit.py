"""How large a batch fits into memory: a line through what small batches take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ganforge.benchmark.noise import draw_noise
from ganforge.benchmark.training_setup import count_step, open_players
from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError
from ganforge.plugins.registry import Registry

RESOLUTIONS = (8, 16, 32, 64, 128, 256, 512, 1024)
"""Tried beside the recipe's own."""

SMALL_BATCHES = (2, 3, 4)
"""The first that the networks take is measured; a discriminator of packs wants whole ones. Of each part of a batch."""

STRAIGHT = 0.02
"""Two slopes in succession that differ by no more make a line."""

MOST_DOUBLINGS = 12

LONGEST = 10.0
"""Seconds of a count; batches and resolutions that would probably take longer are not tried."""


@dataclass(frozen=True)
class Line:
    """``bytes = fixed + each * batch``."""

    fixed: float
    each: float

    @classmethod
    def through(cls, first: tuple[int, int], second: tuple[int, int]) -> Line:
        """The line through two points ``(batch, bytes)``."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)

    def largest(self, free: int) -> int:
        """The largest batch that takes no more than `free` bytes; 0 if there is none."""
        return max(0, int((free - self.fixed) // self.each))


@dataclass(frozen=True)
class Fit:
    """What fits at one resolution.

    Attributes:
        shape: Of an example.
        points: Measured, as ``(batch, bytes)``.
        line: Through the last two.
        straight: Whether larger batches can be expected on it too; else the largest batch may be smaller than said.
        largest: Batch, extrapolated; 0 if none fits.
    """

    shape: tuple[int, ...]
    points: tuple[tuple[int, int], ...]
    line: Line
    straight: bool
    largest: int


def fit_batches(
    config: RunConfig, registry: Registry, spec: DataSpec, device: torch.device, free: int
) -> Iterator[Fit]:
    """Find what fits at every resolution that the networks take, in ascending order.

    Vectors have one form only. Resolutions stop where a step would take too long or leave no memory.

    Args:
        config: With a plan that is settled.
        registry: Where the parts are looked up.
        spec: Of the recipe's own examples.
        device: Where they would be trained.
        free: Bytes of memory.
    """
    own = {spec.shape[-1]} if spec.is_image else set()
    forms = [_at(spec, edge) for edge in sorted({*RESOLUTIONS, *own})] if spec.is_image else [spec]
    for form in forms:
        start = time.perf_counter()
        found = fit_shape(config, registry, form, device, free)
        if found is None:
            continue
        yield found
        taken = (time.perf_counter() - start) / len(found.points)
        if 4 * taken > LONGEST or 4 * found.points[0][1] > free:
            return


def _at(spec: DataSpec, edge: int) -> DataSpec:
    """Images of another size, and what they come with in proportion."""
    channels, own = spec.shape[0], spec.shape[-1]
    source = spec.source_shape[:1] + tuple(size * edge // own for size in spec.source_shape[1:])
    return replace(spec, shape=(channels, edge, edge), source_shape=source)


def fit_shape(config: RunConfig, registry: Registry, spec: DataSpec, device: torch.device, free: int) -> Fit | None:
    """Measure ever larger batches until they lie on a line; None if the networks refuse this form of examples.

    Small batches lie on another line, if gradients and not maps are the most that is needed at once. So batches grow
    until what they take is as much as what is taken anyway.
    """
    points: list[tuple[int, int]] = []
    slopes: list[float] = []
    for first in (config.training.accumulate * each for each in SMALL_BATCHES):
        try:
            points.append((first, count_peak(config, registry, spec, device, first)))
            break
        except GanforgeError:
            continue
    else:
        return None
    straight = False
    for _ in range(MOST_DOUBLINGS):
        batch = 2 * points[-1][0]
        start = time.perf_counter()
        points.append((batch, count_peak(config, registry, spec, device, batch)))
        line = Line.through(*points[-2:])
        slopes.append(line.each)
        even = len(slopes) > 1 and abs(slopes[-1] - slopes[-2]) <= STRAIGHT * slopes[-1]
        straight = even and line.each * batch >= line.fixed
        if straight or 2 * (time.perf_counter() - start) > LONGEST or 2 * points[-1][1] > free:
            break
    return Fit(spec.shape, tuple(points), line, straight, line.largest(free))


def count_peak(config: RunConfig, registry: Registry, spec: DataSpec, device: torch.device, batch: int) -> int:
    """Bytes that the most demanding kind of step takes at once.

    Raises:
        GanforgeError: The networks refuse examples of this form, or so many of them.
    """
    config = replace(config, training=replace(config.training, batch=batch))
    players = open_players(config, registry, draw_noise(spec, batch), device, lambda text: None)
    return max(count_step(players, kind).peak_bytes for kind in players.kinds())
