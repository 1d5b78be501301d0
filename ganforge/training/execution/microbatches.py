"""Microbatches: equal parts of a batch whose gradients accumulate.

Each microbatch has its own seed and starts from the same buffers. Afterwards, each floating-point buffer moves by the
mean of the changes; an unaveraged buffer keeps the value of the last microbatch. So K microbatches give one result, up
to the order of sums, in one process or in K.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganforge.core.seeding import seed_everything
from ganforge.training.execution.buffers import BufferSnapshot
from ganforge.training.execution.engine import Engine

Result = TypeVar("Result")


class Microbatches:
    """Microbatches of one step that this process computes; torch must be seeded for the step.

    Attributes:
        total: Microbatches per batch, over all processes.
        count: Microbatches in this process.
    """

    def __init__(self, engine: Engine) -> None:
        self.total = engine.plan.accumulate
        self.count = self.total // engine.workers.size
        self._workers = engine.workers
        self._seed = torch.initial_seed()
        self._at: tuple[str, int] = ("", 0)

    def each(self, phase: str, *modules: nn.Module) -> Iterator[int]:
        """Iterate over microbatches, which the loop body computes; `modules` may change their buffers."""
        if self.total == 1:
            yield 0
            return
        before = BufferSnapshot.of(modules)
        moved: list[Tensor] = []
        for part in range(self.count):
            if part:
                before.restore()
            self._seed_for(phase, part)
            yield part
            changes = before.changes()
            moved = [a + b for a, b in zip(moved, changes, strict=True)] if moved else changes
        self._workers.all_reduce(moved)
        before.apply_changes(each / self.total for each in moved)
        self._workers.broadcast_from_last(before.unaveraged())

    def repeat(self, phase: str, part: int, before: BufferSnapshot, work: Callable[[], Result]) -> Result:
        """Repeat the work of an earlier phase with the same random numbers and buffers, without side effects."""
        here = self._at
        now = BufferSnapshot.of(before.modules)
        before.restore()
        self._seed_for(phase, part)
        try:
            return work()
        finally:
            now.restore()
            self._seed_for(*here)

    def _seed_for(self, phase: str, part: int) -> None:
        self._at = (phase, part)
        seed_everything(self._seed, phase, self._workers.rank * self.count + part)
