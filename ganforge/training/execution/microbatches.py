"""The parts of a batch: each is computed as if it were alone, whichever process does it and whatever came before.

A part draws its random numbers from a seed of its own, and begins with the buffers that all parts begin with; after all
of them, every floating buffer has moved by the mean of the parts' moves; one that must not be averaged is as the last
part left it. So a batch in K parts has one result, up to the order of sums, whether one process computes all parts in
turn or K processes compute one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ganforge.core.seeding import seed_everything
from ganforge.training.execution.buffers import BufferSnapshot
from ganforge.training.execution.engine import Engine


class Parts:
    """The parts of one step that this process computes.

    Args:
        engine: In how many parts a batch is computed, and by whom; torch must have been seeded for the step.

    Attributes:
        total: Parts of a batch, in all processes together.
        count: Parts that are computed here.
    """

    def __init__(self, engine: Engine) -> None:
        self.total = engine.plan.accumulate
        self.count = self.total // engine.workers.size
        self._team = engine.workers
        self._seed = torch.initial_seed()
        self._at: tuple[str, int] = ("", 0)

    def each(self, phase: str, *modules: nn.Module) -> Iterator[int]:
        """The numbers of this process's parts, from 0; what stands in the loop computes one.

        Args:
            phase: What is computed, by a name that no other phase of the step has.
            modules: Whose buffers may change meanwhile.
        """
        if self.total == 1:
            yield 0
            return
        before = BufferSnapshot.of(modules)
        moved: list[Tensor] = []
        for part in range(self.count):
            if part:
                before.put_back()
            self._seed_for(phase, part)
            yield part
            changes = before.changes()
            moved = [a + b for a, b in zip(moved, changes, strict=True)] if moved else changes
        self._team.all_reduce(moved)
        before.put_changed(each / self.total for each in moved)
        self._team.broadcast_from_last(before.unaveraged())

    def repeat(self, phase: str, part: int, before: BufferSnapshot, work: Callable[[], Tensor]) -> Tensor:
        """Do once more what an earlier phase did for a part, with the same numbers; it leaves no trace.

        Args:
            phase: Which.
            part: As counted by `each`.
            before: The buffers with which that phase began.
            work: What it did.
        """
        here = self._at
        now = BufferSnapshot.of(before.modules)
        before.put_back()
        self._seed_for(phase, part)
        try:
            return work()
        finally:
            now.put_back()
            self._seed_for(*here)

    def _seed_for(self, phase: str, part: int) -> None:
        self._at = (phase, part)
        seed_everything(self._seed, phase, self._team.rank * self.count + part)
