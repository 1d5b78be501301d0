"""Checks that frozen tensors of a run stay constant."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.contract.errors import PluginError
from ganforge.runs.checkpoint import copy_tensors, digest_tensors
from ganforge.training.state import TrainingState

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Frozen:
    """Frozen tensors of a run: copies on the CPU, released after they are saved, and their digest or None."""

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._names = sorted(state.frozen)
        self.tensors = copy_tensors(self._tensors())
        self.digest = digest_tensors(self.tensors) if self.tensors else None
        self._expected = self._checksums()

    def check(self) -> None:
        """Raise `PluginError` if a frozen tensor changed, or if a tensor was added or removed after construction."""
        state = self._state
        names = {f"{name}/{key}" for name, module in state.modules().items() for key in module.state_dict()}
        for name in sorted(names - state.built):
            raise PluginError(
                f"{_title(state, name)} was added after the module was built, so the run could not be resumed",
                "register it in the constructor",
            )
        for name in sorted(state.built - names):
            raise PluginError(f"{_title(state, name)} was removed after the module was built", "keep it")
        changed = (self._checksums() != self._expected).nonzero()[:, 0].tolist() if self._names else []
        for index in changed[:1]:
            raise PluginError(
                f"{_title(state, self._names[index])} changed, although it was frozen when the module was built",
                "do not modify parameters without gradients; keep modules whose buffers change in training mode",
            )

    def _tensors(self) -> dict[str, Tensor]:
        tensors = self._state.tensors() if self._names else {}
        return {name: tensors[name] for name in self._names}

    def _checksums(self) -> Tensor:
        """Return sums over the bits of each tensor, to detect changes."""
        bits = [torch.view_as_real(each) if each.is_complex() else each for each in self._tensors().values()]
        sums = [each.view(_INTEGERS[each.element_size()]).sum(dtype=torch.int64) for each in bits]
        return torch.stack(sums) if sums else torch.zeros(0)


def _title(state: TrainingState, name: str) -> str:
    """Describe a tensor, e.g. ``tensor 'queue' of regularizer 'mine'``."""
    module, _, key = name.partition("/")
    kind, _, part = module.partition(".")
    part = part or state.name_of("generator" if kind == "average" else kind)
    return f"tensor '{key}' of {kind} '{part}'"
