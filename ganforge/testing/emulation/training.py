"""Training state on fake CUDA tensors, and its steps."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import unset_fake_temporarily

from ganforge.config.optimizers import OptimizerConfig
from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.plugins.registry import Registry
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.recording.statistics import Statistics
from ganforge.training.state import TrainingState, build_state
from ganforge.training.steps import Batch, take_step

CUDA = torch.device("cuda")


@dataclass
class EmulatedRun:
    """A recipe that is ready to train on fake CUDA tensors."""

    config: RunConfig
    data: DataSpec
    state: TrainingState
    engine: Engine

    @classmethod
    def open(cls, config: RunConfig, registry: Registry, data: DataSpec, plan: ExecutionPlan) -> EmulatedRun:
        """Construct the networks on the CPU, move them to the emulated device, and prepare them for a plan.

        Call it within `emulated_cuda`.
        """
        with unset_fake_temporarily():
            state = build_state(config, registry, data, torch.device("cpu"))
        for module in state.modules().values():
            move_to_cuda(module)
        state.__post_init__()  # collects the new parameters
        for name, (_, parameters) in state.optimizers().items():
            setattr(state, name, _build_optimizer(config.optimizer[name.removesuffix("_optimizer")], parameters))
        state.streak = torch.zeros((), device=CUDA)
        engine = Engine(plan, CUDA)
        for network in state.networks():
            engine.prepare(network)
        state.match_memory_format()
        return cls(config, data, state, engine)

    def read(self) -> list[Batch]:
        """Return the batches of one step."""
        size = self.config.training.batch
        return [self._draw(size) for _ in range(self.config.training.batches)]

    def take_step(self, index: int) -> None:
        """Take a training step as `ganforge train` does: schedules, both players, statistics and EMA."""
        training, state, statistics = self.config.training, self.state, Statistics()
        for row in self.take_bare_step(index):
            statistics.add(row)
        state.update_ema(training.batch * training.batches, half_life=1000)

    def take_bare_step(self, index: int, watch: AbstractContextManager[Any] | None = None) -> list[dict[str, Tensor]]:
        """Take the part of a step that a CUDA graph captures; only that is in `watch`."""
        self.state.apply_schedules(self.config.optimizer)
        shown = self.read()
        with watch or nullcontext():
            return take_step(self.state, shown, index, self.engine)

    def _draw(self, size: int) -> Batch:
        real = torch.randn(size, *self.data.shape, device=CUDA)
        labels = self._draw_labels(size)
        few = self.config.training.labels is not None
        return Batch(
            self.engine.to_memory_format(self.state.coarsen(real)),
            torch.randn(size, self.state.generator.z_dim, device=CUDA),
            None if few else labels,
            (torch.randn(size, *self.data.shape, device=CUDA), labels) if few and labels is not None else None,
        )

    def _draw_labels(self, size: int) -> Tensor | None:
        if self.data.source_shape:
            return self.engine.to_memory_format(torch.randn(size, *self.data.source_shape, device=CUDA))
        return torch.zeros(size, dtype=torch.int64, device=CUDA) if self.data.num_classes else None


def _build_optimizer(config: OptimizerConfig, parameters: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    """Construct the optimizer of a player; its constructor reads the learning rate, so that cannot be fake."""
    optimizer = config.part.build(list(parameters.values()), 1e-3)
    for group in optimizer.param_groups:
        group["lr"], group["capturable"] = torch.full((), 1e-3, device=CUDA), True
    return optimizer


def move_to_cuda(module: nn.Module) -> None:
    """Replace parameters and buffers by fake CUDA tensors; ``Module.to`` cannot swap them."""
    mode = torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE)

    def convert(tensor: Tensor) -> Tensor:
        fake: Tensor = mode.from_tensor(tensor).detach().to(CUDA)
        return fake

    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            part.register_parameter(name, nn.Parameter(convert(parameter), requires_grad=parameter.requires_grad))
        for name, buffer in part.named_buffers(recurse=False):
            part._buffers[name] = convert(buffer)
