"""Snapshots of module buffers: batch statistics, running means, counters, queues.

Non-persistent buffers and those of modules in evaluation mode are constants and are not copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class BufferSnapshot:
    """Copy of the buffers of modules in training mode."""

    modules: tuple[nn.Module, ...]
    entries: tuple[tuple[nn.Module, str, Tensor], ...]

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> BufferSnapshot:
        """Copy the buffers of modules."""
        modules = tuple(modules)
        return cls(
            modules,
            tuple(
                (part, name, buffer.detach().clone())
                for module in modules
                for part in module.modules()
                if part.training
                for name, buffer in part.named_buffers(recurse=False)
                if name not in part._non_persistent_buffers_set
            ),
        )

    def restore(self) -> None:
        """Restore the buffers without notifying autograd, so a pending backward pass stays valid."""
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.shape == old.shape:
                now.data.copy_(old)
            else:
                setattr(part, name, old.clone())

    def restore_where(self, condition: Tensor) -> None:
        """Restore the buffers if the scalar boolean `condition` holds, without synchronizing with the device."""
        for part, name, old in self.entries:
            now = getattr(part, name).data
            # A lazy buffer that was sized in this step returns to zeros.
            old = old if now.shape == old.shape else torch.zeros_like(now)
            torch.where(condition, old, now, out=now)

    def changes(self) -> list[Tensor]:
        """Return the differences of averaged floating-point buffers to the snapshot, in order."""
        return [now.detach() - old if now.shape == old.shape else now.detach().clone() for old, now in self._averaged()]

    def apply_changes(self, changes: Iterable[Tensor]) -> None:
        """Set averaged floating-point buffers to the snapshot plus `changes`."""
        for (old, now), change in zip(self._averaged(), changes, strict=True):
            now.data.copy_(old + change if old.shape == change.shape else change)

    def unaveraged(self) -> list[Tensor]:
        """Return the current buffers that must not be averaged."""
        return [getattr(part, name) for part, name, _ in self.entries if name in unaveraged_buffers(part)]

    def _averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.is_floating_point() and name not in unaveraged_buffers(part):
                yield old, now


def unaveraged_buffers(module: nn.Module) -> tuple[str, ...]:
    """Return names of a module's own buffers that must not be averaged; see ``Regularizer.unaveraged_buffers``."""
    names: tuple[str, ...] = getattr(module, "unaveraged_buffers", ())
    return names


def find_frozen(module: nn.Module) -> Iterator[str]:
    """Yield constant names in ``state_dict``: frozen parameters, and buffers of modules in evaluation mode."""
    saved = module.state_dict().keys()
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        names = [prefix + name for name, each in part.named_parameters(recurse=False) if not each.requires_grad]
        if not part.training:
            names += [prefix + name for name, _ in part.named_buffers(recurse=False)]
        yield from (name for name in names if name in saved)
