"""What modules keep between steps beside their weights: batch statistics, running means, counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Kept:
    """The buffers of modules, as they were."""

    modules: tuple[nn.Module, ...]
    entries: tuple[tuple[nn.Module, str, Tensor], ...]

    @classmethod
    def of(cls, modules: Iterable[nn.Module]) -> Kept:
        """Copy them."""
        modules = tuple(modules)
        return cls(
            modules,
            tuple(
                (part, name, buffer.detach().clone())
                for module in modules
                for part in module.modules()
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
        """By how much the floating ones have changed since, in order."""
        found = []
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.is_floating_point():
                found.append(now.detach() - old if now.shape == old.shape else now.detach().clone())
        return found

    def put_changed(self, changes: Iterable[Tensor]) -> None:
        """Let the floating ones be what they were, and these changes."""
        following = iter(changes)
        for part, name, old in self.entries:
            now = getattr(part, name)
            if now.is_floating_point():
                change = next(following)
                now.data.copy_(old + change if old.shape == change.shape else change)
