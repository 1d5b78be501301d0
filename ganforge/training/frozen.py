"""Tensors of modules: which a run can save, and whether frozen ones stayed as they were."""

from __future__ import annotations

import torch
from torch import Tensor

from ganforge.contract.errors import PluginError
from ganforge.runs.checkpoint import copy_tensors, digest_tensors
from ganforge.training.state import TrainingState

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Frozen:
    """The frozen tensors of a run, as they are when this is made.

    Args:
        state: What is trained.

    Attributes:
        tensors: Copies on the CPU, to be saved once and then dropped.
        digest: Of them; None if there are none.
    """

    def __init__(self, state: TrainingState) -> None:
        self._state = state
        self._names = sorted(state.frozen)
        self.tensors = copy_tensors(self._now())
        self.digest = digest_tensors(self.tensors) if self.tensors else None
        self._sums = self._sum()

    def check(self) -> None:
        """Refuse modules whose tensors a checkpoint would not hold.

        Raises:
            PluginError: A frozen tensor changed, or a tensor appeared or vanished after its module was built.
        """
        state = self._state
        names = {f"{name}/{key}" for name, module in state.modules().items() for key in module.state_dict()}
        for name in sorted(names - state.built):
            raise PluginError(
                f"{_title(state, name)} appeared after the part was built, so no run could be resumed with it",
                "register it in the constructor",
            )
        for name in sorted(state.built - names):
            raise PluginError(f"{_title(state, name)} was removed after the part was built", "keep it")
        changed = (self._sum() != self._sums).nonzero()[:, 0].tolist() if self._names else []
        for place in changed[:1]:
            raise PluginError(
                f"{_title(state, self._names[place])} changed, though it was frozen when the part was built",
                "leave parameters that require no gradients alone; have modules whose buffers change in training mode",
            )

    def _now(self) -> dict[str, Tensor]:
        tensors = self._state.tensors() if self._names else {}
        return {name: tensors[name] for name in self._names}

    def _sum(self) -> Tensor:
        """Sums of the bits of each tensor, which differ if it changed."""
        bits = [torch.view_as_real(each) if each.is_complex() else each for each in self._now().values()]
        sums = [each.view(_INTEGERS[each.element_size()]).sum(dtype=torch.int64) for each in bits]
        return torch.stack(sums) if sums else torch.zeros(0)


def _title(state: TrainingState, name: str) -> str:
    """A tensor in words: ``tensor 'queue' of regularizer 'mine'``."""
    module, _, key = name.partition("/")
    kind, _, part = module.partition(".")
    part = part or (state.name_of(kind) if kind != "average" else state.name_of("generator"))
    return f"tensor '{key}' of {kind} '{part}'"
