"""Setup of a recipe for benchmarks: random data, training state, and kinds of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ganforge.config.schema import RunConfig
from ganforge.contract.capabilities import Growing
from ganforge.contract.data import DataSpec
from ganforge.core.accelerator import measuring_peak
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.sampling import default_labels
from ganforge.training.execution.autotune import choose_plan
from ganforge.training.execution.counting import StepCounter
from ganforge.training.execution.cuda_graphs import Stepper, make_stepper
from ganforge.training.execution.engine import Engine
from ganforge.training.loading.sampler import Batches
from ganforge.training.start import open_batches, open_engine
from ganforge.training.state import TrainingState, build_state
from ganforge.training.steps import Batch, read_batch, take_step

MOST_BYTES = 1 << 26  # maximum size of the examples in values, unless two batches are larger

MOST_EXAMPLES = 20_000
MOST_STEPS = 10_000  # maximum number of steps in which kinds are counted


@dataclass(frozen=True)
class StepKind:
    """Steps with the same penalties: number of the first one, and share of all steps in (0, 1]."""

    penalties: tuple[str, ...]
    index: int
    share: float

    @property
    def name(self) -> str:
        """Description of the penalties."""
        return f"with {', '.join(self.penalties)}" if self.penalties else "plain"


@dataclass
class Players:
    """Recipe that is ready to train.

    Attributes:
        begin: Images after which growing networks have their final size; else 0.
        position: First sample of the next batch.
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
        """Real images per step."""
        return self.config.training.batch * self.config.training.batches

    def read(self) -> list[Batch]:
        """Read the batches of one step."""
        batch = self.config.training.batch
        first, self.position = self.position, self.position + self.step_images
        starts = range(first, self.position, batch)
        return [read_batch(self.state, self.batches, self.engine, start, batch) for start in starts]

    def kinds(self) -> list[StepKind]:
        """Return the kinds of steps in order of their first occurrence."""
        seen: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for index in range(self._period()):
            seen.setdefault(self._due(index), []).append(index)
        return [
            StepKind(tuple(dict.fromkeys(name for name, _ in key)), found[0], len(found) / self._period())
            for key, found in seen.items()
        ]

    def kind_at(self, index: int, kinds: list[StepKind]) -> StepKind:
        """Return the kind of a step."""
        return next(each for each in kinds if self._due(each.index) == self._due(index % self._period()))

    def _period(self) -> int:
        return min(MOST_STEPS, math.lcm(*(each.every for each in self.state.penalties)))

    def _due(self, index: int) -> tuple[tuple[str, int], ...]:
        """Return the penalties of a step, and how often the players compute them."""
        steps = self.config.training.d_steps
        numbers = [*range(index * steps, (index + 1) * steps), index]
        counts = {
            each.name: sum(number % each.every == 0 for number in numbers)
            for each in self.state.penalties
            if each.weight.at(self.begin) > 0
        }
        return tuple((name, count) for name, count in counts.items() if count)


def open_players(
    config: RunConfig, registry: Registry, data: PackedData, device: torch.device, say: Callable[[str], None]
) -> Players:
    """Construct the initial state of a recipe with an execution plan, like `ganforge train`."""
    state = build_state(config, registry, data.spec, device)
    batches = open_batches(config.training, data, device)
    config = choose_plan(config, state, batches, device, say)
    engine = open_engine(config.training, state, device, say)
    begin = max(each.phases()[-1] if isinstance(each, Growing) else 0 for each in state.networks())
    state.images = begin
    state.apply_schedules(config.optimizer)
    return Players(config, data, state, batches, engine, make_stepper(engine), begin)


def count_step(players: Players, kind: StepKind) -> StepCounter:
    """Count one step in eager execution; ``peak_bytes`` is that of torch's allocator if it counts them."""
    state, device = players.state, players.engine.device
    engine = Engine(replace(players.engine.plan, engine="eager"), device)
    take_step(state, players.read(), kind.index, engine)  # allocates the state of the optimizers
    shown = players.read()
    counter = StepCounter([*_tensors(state), *(each for batch in shown for each in (batch.real, batch.latents))])
    with measuring_peak(device) as peak, counter:
        take_step(state, shown, kind.index, engine)
    state.images = players.begin
    if peak:
        counter.peak_bytes = peak[0]
    return counter


def _tensors(state: TrainingState) -> Iterator[Tensor]:
    for module in state.modules().values():
        yield from module.parameters()
        yield from module.buffers()
    for optimizer, _ in state.optimizers().values():
        for entries in optimizer.state.values():
            yield from entries.values()


def draw_noise(spec: DataSpec, batch: int) -> PackedData:
    """Draw random examples with balanced labels: a few thousand, at least two batches."""
    generator = torch.Generator().manual_seed(0)
    count = max(2 * batch, min(MOST_EXAMPLES, MOST_BYTES // math.prod(spec.shape)))
    if spec.is_image:
        examples = torch.randint(0, 256, (count, *spec.shape), dtype=torch.uint8, generator=generator)
    else:
        examples = torch.randn(count, *spec.shape, generator=generator)
    labels = default_labels(count, spec)
    sources = None
    if spec.source_shape:
        pixels = torch.randint(0, 256, (count, *spec.source_shape), dtype=torch.uint8, generator=generator)
        sources = PackedData("noise", pixels, None, (), "0" * 64)
    names = tuple(each.name for each in spec.numbers)
    return PackedData("noise", examples, labels, spec.class_names, "0" * 64, sources=sources, number_names=names)
