"""Buffers of modules: batch statistics, running means, counts, queues.

Modules in evaluation mode keep theirs as they are. So their buffers are constants, of which no step takes a copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class BufferSnapshot:
    """The buffers of modules, as they were."""

    modules: tuple[nn.Module, ...]
    entries: tuple[tuple[nn.Module, str, Tensor], ...]

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> BufferSnapshot:
        """Copy them, but for those of modules in evaluation mode."""
        modules = tuple(modules)
        return cls(
            modules,
            tuple(
                (part, name, buffer.detach().clone())
                for module in modules
                for part in module.modules()
                if part.training
                for name, buffer in part.named_buffers(recurse=False)
            ),
        )

    def put_back(self) -> None:
        """Let the modules have them again. What autograd kept for a backward pass still to come is not told."""
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.shape == old.shape:
                now.data.copy_(old)
            else:
                setattr(part, name, old.clone())

    def put_back_where(self, condition: Tensor) -> None:
        """Let the modules have them again if the scalar is not 0, without waiting for the device."""
        for part, name, old in self.entries:
            now = getattr(part, name)
            # One that only now got its size goes back to nothing, which is what it was.
            old = old if now.shape == old.shape else torch.zeros_like(now)
            now.data.copy_(torch.where(condition > 0, old, now))

    def changes(self) -> list[Tensor]:
        """By how much the floating ones have changed since, in order, but for those that are not averaged."""
        return [now.detach() - old if now.shape == old.shape else now.detach().clone() for old, now in self._averaged()]

    def put_changed(self, changes: Iterable[Tensor]) -> None:
        """Let the floating ones be what they were, and these changes."""
        for (old, now), change in zip(self._averaged(), changes, strict=True):
            now.data.copy_(old + change if old.shape == change.shape else change)

    def unaveraged(self) -> list[Tensor]:
        """Those that are not averaged, as they are now."""
        return [getattr(part, name) for part, name, _ in self.entries if name in unaveraged_buffers(part)]

    def _averaged(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.is_floating_point() and name not in unaveraged_buffers(part):
                yield old, now


def unaveraged_buffers(module: nn.Module) -> tuple[str, ...]:
    """Names of the module's own buffers that are never averaged; see ``Regularizer.unaveraged_buffers``."""
    names: tuple[str, ...] = getattr(module, "unaveraged_buffers", ())
    return names


def find_frozen(module: nn.Module) -> Iterator[str]:
    """Names of the tensors in a module's ``state_dict`` that never change.

    These are parameters that do not require gradients, and buffers of modules in evaluation mode.
    """
    saved = module.state_dict().keys()
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        names = [prefix + name for name, each in part.named_parameters(recurse=False) if not each.requires_grad]
        if not part.training:
            names += [prefix + name for name, _ in part.named_buffers(recurse=False)]
        yield from (name for name in names if name in saved)
