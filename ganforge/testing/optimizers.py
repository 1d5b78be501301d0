"""Check of optimizers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ganforge.config.optimizers import OptimizerConfig
from ganforge.contract.errors import PluginError
from ganforge.contract.optimizer import Optimizer
from ganforge.contract.schedules import Schedule
from ganforge.testing.requirements import require, require_finite, require_options
from ganforge.training.optimizers import apply_schedule, build_optimizer, load_state, state_tensors

_STEPS = 5


def check_optimizer(factory: Callable[..., Optimizer], **options: Any) -> None:
    """Check an optimizer: finite steps, learning rate, state that resumes exactly, rates as tensors."""
    require_options(factory, options)
    part = factory(**options)
    config = OptimizerConfig("checked", Schedule.constant(1e-3), 0, None, options, part)
    torch.manual_seed(0)
    start = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    inputs = torch.randn(2 * _STEPS, 16, 4)
    network, optimizer = _continue(copy.deepcopy(start), config, inputs[:_STEPS])
    for name, parameter in network.named_parameters():
        require_finite(f"{name} after {_STEPS} steps", parameter)
    require(not _equal(network, start), "it changes no parameter: step must use the gradients")

    still = OptimizerConfig("checked", Schedule.constant(0), 0, None, options, part)
    same = _equal(_continue(copy.deepcopy(start), still, inputs[:_STEPS])[0], start)
    require(same, "it changes parameters at a learning rate of 0: read the rate from group['lr'] in each step")

    again = copy.deepcopy(network)
    resumed = build_optimizer(config, again.parameters(), torch.device("cpu"))
    for old, new in zip(network.parameters(), again.parameters(), strict=True):
        try:
            load_state(resumed, new, state_tensors("checked", optimizer, old))
        except PluginError as error:
            raise AssertionError(str(error)) from error
    _continue(network, config, inputs[_STEPS:], optimizer)
    _continue(again, config, inputs[_STEPS:], resumed)
    require(_equal(network, again), "a resumed run differs: keep all state in tensors of self.state[parameter]")

    _, tensor = _continue(copy.deepcopy(start), config, inputs[:_STEPS], lr=torch.tensor(1e-3))
    kept = all(isinstance(group["lr"], torch.Tensor) for group in tensor.param_groups)
    require(kept, "the learning rate is no longer a tensor: pass lr of build on, for CUDA graphs")


def _continue(
    network: nn.Module,
    config: OptimizerConfig,
    inputs: torch.Tensor,
    optimizer: torch.optim.Optimizer | None = None,
    lr: torch.Tensor | float = 1e-3,
) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Train a network, with a new optimizer if none is given."""
    optimizer = optimizer or config.part.build(list(network.parameters()), lr)
    for number, batch in enumerate(inputs):
        apply_schedule(optimizer, config, number, 1.0)
        (network(batch) - batch.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, optimizer


def _equal(first: nn.Module, second: nn.Module) -> bool:
    return all(map(torch.equal, first.parameters(), second.parameters()))
