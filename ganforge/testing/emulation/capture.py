"""Rules of CUDA graphs, checked on the operations of emulated steps.

A graph replays operations without Python. So a step must not wait for the device, must not compute with Python numbers
that change from step to step, must draw random numbers only from the device's default generator, must not replace
tensors that live longer than a step, and must release its autograd graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ganforge.contract.errors import PluginError
from ganforge.testing.emulation.cases import PLANS, Part, Subject, open_registry
from ganforge.testing.emulation.hooks import emulated_cuda, run_apart
from ganforge.testing.emulation.training import EmulatedRun
from ganforge.testing.emulation.watch import EmulationError, Watch, find_line
from ganforge.training.execution.cuda_graphs import python_state


class Trace(Watch):  # type: ignore[no-untyped-call]
    """Records each operation with its Python numbers and its line."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple[Any, ...], str]] = []
        self.generator = ""

    def call(self, func: Any, args: Any, kwargs: Any) -> Any:
        leaves = tree_leaves((args, kwargs))
        line = find_line()
        if any(isinstance(each, torch.Generator) for each in leaves):
            self.generator = self.generator or line
        numbers = tuple(each for each in leaves if isinstance(each, (bool, int, float, str)))
        self.calls.append((func.overloadpacket.__name__, numbers, line))
        return super().call(func, args, kwargs)


def explain_capture(subject: Subject, plan: str, part: Part | None = None) -> str:
    """Return why steps cannot be captured, with file and line where known; empty if they can. See `emulate`."""
    return run_apart(_explain, subject, plan, part)


def _explain(subject: Subject, plan: str, part: Part | None) -> str:
    registry = open_registry(part)
    config, data = subject.open(registry)
    with emulated_cuda():
        return _find_obstacle(EmulatedRun.open(config, registry, data, PLANS[plan]))


def _find_obstacle(run: EmulatedRun) -> str:
    traces: list[Trace] = []
    changed: dict[str, Any] = {}
    for _ in range(3):  # tensors that are created in the first step may stay
        before = python_state(run.state)
        run.state.images_were_read = False
        trace = Trace()
        try:
            run.take_bare_step(1, trace)
        except PluginError as error:
            if isinstance(error.__cause__, EmulationError):
                return str(error.__cause__)
            raise
        except EmulationError as error:
            return str(error)
        after = python_state(run.state)
        changed = {name: value for name, value in after.items() if before.get(name, value) != value}
        traces.append(trace)
    *_, first, second = traces
    for (name, numbers, _), (other, others, line) in zip(first.calls, second.calls, strict=False):
        if name != other or numbers != others:
            return f"{line}: {other} computes with a Python number that changes from step to step"
    if second.generator:
        return f"{second.generator}: draws from a generator of its own"
    if changed:
        return f"{next(iter(changed))} is replaced or changes from step to step; update a buffer in place"
    if run.state.images_were_read:
        return "a part reads step.images_seen, which is a Python number"
    kept = [player for player, parameters in run.state.trained.items() if _are_held(parameters.values())]
    return f"the autograd graph of the {kept[0]} lives longer than its step" if kept else ""


def _are_held(parameters: Iterable[nn.Parameter]) -> bool:
    """Return whether something keeps the gradient accumulators of parameters."""
    for parameter in parameters:
        parameter.requires_grad_(True)  # the discriminator's are frozen in the generator's step
        _accumulator(parameter).metadata["held"] = True
        if "held" in _accumulator(parameter).metadata:  # a new one would not have it
            return True
    return False


def _accumulator(parameter: Tensor) -> Any:
    node = parameter.expand_as(parameter).grad_fn
    assert node is not None
    return node.next_functions[0][0]
