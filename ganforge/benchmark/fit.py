"""Largest batch that fits into memory, by linear extrapolation from small batches."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ganforge.benchmark.training_setup import count_step, draw_noise, open_players
from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError
from ganforge.plugins.registry import Registry

RESOLUTIONS = (8, 16, 32, 64, 128, 256, 512, 1024)  # sizes of squares to try besides that of the data
SMALL_BATCHES = (2, 3, 4)  # first microbatch sizes to try; a packing discriminator needs whole packs
STRAIGHT = 0.02  # maximum relative difference between consecutive slopes of a line

MOST_DOUBLINGS = 12

LONGEST = 10.0  # maximum expected seconds of a measurement


@dataclass(frozen=True)
class Line:
    """``bytes = fixed + each * batch``."""

    fixed: float
    each: float

    @classmethod
    def through(cls, first: tuple[int, int], second: tuple[int, int]) -> Line:
        """Return the line through two points ``(batch, bytes)``."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)

    def largest(self, free: int) -> int:
        """Return the largest batch for `free` bytes; 0 if none fits."""
        return max(0, int((free - self.fixed) // self.each))


@dataclass(frozen=True)
class Fit:
    """Result at one resolution: measurements ``(batch, bytes)``, and a line through the last two.

    If the line is not `straight`, `largest` is an upper bound; it is 0 if no batch fits.
    """

    shape: tuple[int, ...]
    points: tuple[tuple[int, int], ...]
    line: Line
    straight: bool
    largest: int


def fit_batches(
    config: RunConfig, registry: Registry, spec: DataSpec, device: torch.device, free: int
) -> Iterator[Fit]:
    """Find the largest batch at every supported resolution, ascending, until a step is too large or too slow."""
    for each in _resize(spec) if spec.is_image else [spec]:
        start = time.perf_counter()
        found = fit_shape(config, registry, each, device, free)
        if found is None:
            continue
        yield found
        taken = (time.perf_counter() - start) / len(found.points)
        if 4 * taken > LONGEST or 4 * found.points[0][1] > free:
            return


def _resize(spec: DataSpec) -> list[DataSpec]:
    """Return the format at other resolutions, ascending; source images in proportion.

    Squares have an edge of `RESOLUTIONS`; other images are doubled and halved.
    """
    height, width = spec.shape[1:]
    longest = max(height, width)
    edges = {longest, *RESOLUTIONS}
    if height != width:
        common = math.gcd(height, width)
        least = longest // (common & -common)  # the power of two that divides both
        edges = {least << count for count in range(max(RESOLUTIONS).bit_length())}

    def scale(shape: tuple[int, ...], edge: int) -> tuple[int, ...]:
        return shape[:1] + tuple(size * edge // longest for size in shape[1:])

    return [
        replace(spec, shape=scale(spec.shape, edge), source_shape=scale(spec.source_shape, edge))
        for edge in sorted(edges)
        if edge == longest or min(RESOLUTIONS) <= edge <= max(RESOLUTIONS)
    ]


def fit_shape(config: RunConfig, registry: Registry, spec: DataSpec, device: torch.device, free: int) -> Fit | None:
    """Measure growing batches until they lie on a line; return None if the networks reject the shape.

    The peak of small batches is that of gradients, which lie on another line. So batches grow until their share
    exceeds the fixed part.
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
    """Return the peak memory of the largest kind of step; raise `GanforgeError` if the networks reject the shape."""
    config = replace(config, training=replace(config.training, batch=batch))
    players = open_players(config, registry, draw_noise(spec, batch), device, lambda text: None)
    return max(count_step(players, kind).peak_bytes for kind in players.kinds())
