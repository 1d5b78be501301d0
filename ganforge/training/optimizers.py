"""Construction and steps of the players' optimizers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ganforge.config.optimizers import OptimizerConfig
from ganforge.contract.errors import PluginError
from ganforge.core.accelerator import backend_of
from ganforge.plugins.part_errors import part_errors

_STEPPED = "has_stepped"
"""Attribute of an optimizer whose state exists; a copy or a restored optimizer has none."""


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Construct the optimizer of a player; with graphs its learning rate is a tensor, which a replayed step reads."""
    rate = torch.tensor(1e-3, device=device) if backend_of(device).graphs else 1e-3
    with part_errors("optimizer", config.name):
        optimizer = config.part.build(list(parameters), rate)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise PluginError(
            f"optimizer '{config.name}' built a {type(optimizer).__name__}", "return a torch.optim.Optimizer"
        )
    return optimizer


def apply_schedule(optimizer: torch.optim.Optimizer, config: OptimizerConfig, images: int, factor: float) -> None:
    """Set learning rate, multiplied by a factor, and scheduled entries of the groups after `images` images."""
    rate = config.lr_at(images) * factor
    with part_errors("optimizer", config.name):
        entries = config.part.group(images)
    for group in optimizer.param_groups:
        group.update(entries)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def clip_gradients(gradients: list[Tensor], norm: Tensor, most: float) -> None:
    """Scale gradients of a total norm down to `most`, without synchronizing with the device."""
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))


def step_optimizer(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter], skipped: Tensor) -> None:
    """Take a step, unless the scalar `skipped` is 1; parameters and state then stay unchanged."""
    backend = backend_of(skipped.device)
    if skips_itself(optimizer):
        optimizer.found_inf = skipped  # type: ignore[attr-defined]
        if backend.found_inf or not skipped:
            optimizer.step()
    elif not backend.graphs or not hasattr(optimizer, _STEPPED):  # the first step creates the state
        if not skipped:
            optimizer.step()
            place_state(optimizer)
            setattr(optimizer, _STEPPED, True)
    else:  # without synchronizing, so that a CUDA graph can hold it
        tensors = [each.data for each in parameters] + [
            value for entries in optimizer.state.values() for value in entries.values()
        ]
        before = [each.clone() for each in tensors]
        optimizer.step()
        for old, now in zip(before, tensors, strict=True):
            torch.where(skipped > 0, old, now, out=now)


def skips_itself(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether an optimizer reads ``found_inf``, as those of torch do when they are fused."""
    fused = all(group.get("fused") for group in getattr(optimizer, "param_groups", ()))
    return fused or getattr(optimizer, "_step_supports_amp_scaling", False)


def place_state(optimizer: torch.optim.Optimizer) -> None:
    """Move state to the device of its parameter, where a captured step needs it."""
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                entries[name] = value.to(parameter.device)


def load_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, entries: Mapping[str, Tensor]) -> None:
    """Copy saved state to the device of its parameter, and all but scalars to its memory format."""
    vars(optimizer).pop(_STEPPED, None)
    optimizer.state[parameter] = {
        name: torch.empty_like(parameter if value.shape == parameter.shape else value, device=parameter.device).copy_(
            value
        )
        for name, value in entries.items()
    }


def state_tensors(title: str, optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> Mapping[str, Tensor]:
    """Return the state of a parameter by name; raise `PluginError` for state that cannot be saved."""
    entries: Mapping[str, Tensor] = optimizer.state[parameter]
    for name, value in entries.items():
        if not isinstance(value, Tensor):
            raise PluginError(
                f"optimizer '{title}' keeps '{name}' as {type(value).__name__}, so the run could not be resumed",
                "keep state as tensors",
            )
    return entries
