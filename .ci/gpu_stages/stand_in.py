"""Stand-in for CUDA graphs on a CPU: a replay runs the recorded function on its recorded tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from ganforge.core.accelerator import BACKENDS
from ganforge.training.execution import cuda_graphs
from ganforge.training.execution.cuda_graphs import Rows
from ganforge.training.execution.engine import Engine
from ganforge.training.state import TrainingState
from ganforge.training.steps import Batch, take_step


class StandIn:
    """Recorder on a CPU; a number that is read into Python counts as a synchronization.

    Attributes:
        detects: A synchronization is found before the capture; else the capture fails.
    """

    detects = True
    _replays = False

    def __init__(self, device: torch.device) -> None:
        self._waits = False

    def run(self, work: Callable[[], Rows]) -> tuple[Rows, str]:
        with WaitDetector() as detector:
            rows = work()
        self._waits = detector.waits
        return rows, "a number is read from the device" if self._waits and self.detects else ""

    def record(self, work: Callable[[], Rows]) -> Callable[[], Rows]:
        if self._waits and not self.detects:
            raise RuntimeError("operation not permitted when stream is capturing")

        def replay() -> Rows:
            StandIn._replays = True
            try:
                return work()
            finally:
                StandIn._replays = False

        return replay

    @classmethod
    def take_step(cls, state: TrainingState, shown: Sequence[Batch], index: int, engine: Engine) -> Rows:
        """Take a step; a replayed graph does not count images, so they are counted before."""
        if cls._replays:
            state.images -= sum(len(batch.real) for batch in shown)
        return take_step(state, shown, index, engine)


class WaitDetector(TorchDispatchMode):
    """Notices numbers that are read into Python."""

    waits = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.waits |= func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def replace_graphs() -> None:
    """Let the CPU record steps with the stand-in, in this process."""
    BACKENDS["cpu"] = dataclasses.replace(BACKENDS["cpu"], graphs=True)
    cuda_graphs.CudaRecorder = StandIn
    cuda_graphs.take_step = StandIn.take_step
