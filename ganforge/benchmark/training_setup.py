"""The players of a recipe, ready to step as in a run, and the kinds of steps that they take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.benchmark.counting import Counter
from ganforge.config.schema import RunConfig
from ganforge.contract.capabilities import Growing
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.training.execution.autotune import choose_plan
from ganforge.training.execution.cuda_graphs import Stepper, make_stepper
from ganforge.training.execution.engine import Engine
from ganforge.training.loading.sampler import Batches
from ganforge.training.start import open_batches, open_engine
from ganforge.training.state import TrainingState, build_state
from ganforge.training.steps import Batch, read_batch, take_step

MOST_STEPS = 10_000
"""Looked at for how often each kind of step comes."""


@dataclass(frozen=True)
class Kind:
    """Steps on which the same penalties are due.

    Attributes:
        penalties: Their names.
        index: Number of the first such step.
        share: Of all steps; above 0, at most 1.
    """

    penalties: tuple[str, ...]
    index: int
    share: float

    @property
    def name(self) -> str:
        """In words."""
        return f"with {', '.join(self.penalties)}" if self.penalties else "plain"


@dataclass
class Players:
    """What a run would train, how it would, and where it stands in its data.

    Attributes:
        config: Settled.
        data: What it is trained on.
        state: The networks, penalties and optimisers.
        batches: Of the data.
        engine: How steps are computed.
        take_step: Takes them.
        begin: Real images that networks take themselves to have seen: as many as it takes them to be fully grown.
        position: Where in the data the next batch begins.
    """

    config: RunConfig
    data: PackedData
    state: TrainingState
    batches: Batches
    engine: Engine
    take_step: Stepper
    begin: int
    position: int = 0

    @property
    def step_images(self) -> int:
        """Real images that a step shows."""
        return self.config.training.batch * self.config.training.d_steps

    def read(self) -> list[Batch]:
        """Batches for one step."""
        batch = self.config.training.batch
        shown = []
        for _ in range(self.config.training.d_steps):
            shown.append(read_batch(self.state, self.batches, self.engine, self.position, batch))
            self.position += batch
        return shown

    def kinds(self) -> list[Kind]:
        """The kinds of steps by when they come first, with their shares."""
        seen: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for index in range(self.period()):
            seen.setdefault(self.due(index), []).append(index)
        return [
            Kind(tuple(dict.fromkeys(name for name, _ in key)), found[0], len(found) / self.period())
            for key, found in seen.items()
        ]

    def kind_at(self, index: int, kinds: list[Kind]) -> Kind:
        """To which of the kinds a step belongs."""
        return next(each for each in kinds if self.due(each.index) == self.due(index % self.period()))

    def period(self) -> int:
        """Steps after which their kinds come again."""
        return min(MOST_STEPS, math.lcm(*(each.every for each in self.state.penalties)))

    def due(self, index: int) -> tuple[tuple[str, int], ...]:
        """Which penalties are due on a step, and how often: the discriminator may take more than one."""
        steps = self.config.training.d_steps
        places = [*range(index * steps, (index + 1) * steps), index]
        counts = {
            each.name: sum(place % each.every == 0 for place in places)
            for each in self.state.penalties
            if each.weight.at(self.begin) > 0
        }
        return tuple((name, count) for name, count in counts.items() if count)


def open_players(
    config: RunConfig, registry: Registry, data: PackedData, device: torch.device, say: Callable[[str], None]
) -> Players:
    """Make the players as `ganforge train` would, with a plan that is settled.

    Raises:
        GanforgeError: They cannot be trained so.
    """
    state = build_state(config, registry, data.spec, device)
    batches = open_batches(config.training, data, device)
    config = choose_plan(config, state, batches, device, say)
    engine = open_engine(config.training, state, device, say)
    begin = max(each.phases()[-1] if isinstance(each, Growing) else 0 for each in state.networks())
    state.images = begin
    state.apply_schedules(config.optimizer)
    return Players(config, data, state, batches, engine, make_stepper(engine), begin)


@dataclass(frozen=True)
class Work:
    """What one step asks of the machine; see `Counter`."""

    flops: int
    bytes: int
    peak_bytes: int


def count_step(players: Players, kind: Kind) -> Work:
    """Count one step, taken operation by operation whatever the engine.

    On CUDA the peak is what torch had allocated for all tensors of the process, else that of the tensors of the step.
    """
    state, device = players.state, players.engine.device
    engine = Engine(replace(players.engine.plan, engine="eager"), device)
    take_step(state, players.read(), kind.index, engine)  # the optimisers have made their tensors then
    shown = players.read()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with Counter([*_tensors(state), *(each for batch in shown for each in (batch.real, batch.latents))]) as counter:
        take_step(state, shown, kind.index, engine)
    state.images = players.begin
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else counter.peak_bytes
    return Work(counter.flops, counter.bytes, peak)


def _tensors(state: TrainingState) -> Iterator[Tensor]:
    """All that is kept from step to step."""
    for module in state.modules().values():
        yield from module.parameters()
        yield from module.buffers()
    for optimizer, _ in state.optimizers().values():
        for entries in optimizer.state.values():
            yield from entries.values()
