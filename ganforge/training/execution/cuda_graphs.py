"""CUDA graphs of whole training steps: captured once per set of scalar inputs, then replayed.

A graph does not run Python, so scalars such as the weight of a penalty are part of the graph's key. Steps whose modules
change Python attributes are not captured.
"""

from __future__ import annotations

import copy
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

import torch
from torch import Tensor

from ganforge.contract.capabilities import Growing
from ganforge.contract.errors import PluginError
from ganforge.training.execution.engine import Engine
from ganforge.training.state import TrainingState
from ganforge.training.steps import Batch, take_step

Rows = list[dict[str, Tensor]]

Stepper = Callable[[TrainingState, Sequence[Batch], int], Rows]  # signature of `take_step` without the engine
_SCALARS = (int, float, str, tuple)  # types of attributes that a captured step cannot follow
MOST_GRAPHS = 8  # maximum number of graphs; each takes memory, so further kinds of steps run eagerly


class GraphRecorder(Protocol):
    """Runs and captures work on a device."""

    def run(self, work: Callable[[], Rows]) -> tuple[Rows, str]:
        """Run work on the stream that is used for capture; return also why it cannot be captured, if that is known."""

    def record(self, work: Callable[[], Rows]) -> Callable[[], Rows]:
        """Capture work without running it, and return a function that replays it on the same tensors."""


class CudaRecorder:
    """Captures CUDA graphs that share one memory pool."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, work: Callable[[], Rows]) -> tuple[Rows, str]:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream), detecting_waits() as waits:
            rows = work()
        torch.cuda.current_stream().wait_stream(self._stream)
        return rows, waits[0] if waits else ""

    def record(self, work: Callable[[], Rows]) -> Callable[[], Rows]:
        """Capture work; raises `RuntimeError` if it synchronizes with the device."""
        graph = torch.cuda.CUDAGraph()
        # torch does not restore the stream if the capture fails.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
        ):
            rows = work()

        def replay() -> Rows:
            graph.replay()
            return rows

        return replay


@contextmanager
def detecting_waits() -> Iterator[list[str]]:
    """Yield a list that receives the places in the block where this thread synchronizes with CUDA."""
    thread, mode, waits = threading.get_ident(), torch.cuda.get_sync_debug_mode(), list[str]()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Synchronization debug mode")  # a notice about the mode
        warnings.filterwarnings("always", message="called a synchronizing CUDA operation")
        show = warnings.showwarning

        def note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if "synchronizing CUDA operation" not in str(message):
                show(message, category, filename, lineno, file, line)
            elif threading.get_ident() == thread:
                waits.append(f"{filename}, line {lineno}, synchronizes with the device")

        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield waits
        finally:
            torch.cuda.set_sync_debug_mode(mode)


class GraphedSteps:
    """Takes steps like `take_step`: the first of each kind runs eagerly, later ones are captured and replayed."""

    def __init__(self, engine: Engine, recorder: GraphRecorder) -> None:
        self._engine = engine
        self._recorder = recorder
        self._seen: set[Hashable] = set()
        self._graphs: dict[Hashable, tuple[list[Tensor], Callable[[], Rows]]] = {}
        self._waited: set[Hashable] = set()
        self._refused = False
        self._is_full = False

    def __call__(self, state: TrainingState, shown: Sequence[Batch], index: int) -> Rows:
        key = graph_key(state, shown, index)
        if self._refused or key is None or not self._admit(key):
            return take_step(state, shown, index, self._engine)
        if key not in self._seen:
            return self._first(key, state, shown, index)
        if key not in self._graphs and not self._record(key, state, shown, index):
            return take_step(state, shown, index, self._engine)
        inputs, replay = self._graphs[key]
        for old, new in zip(inputs, tensors_of(shown), strict=True):
            old.copy_(new, non_blocking=True)
        state.images += sum(len(batch.real) for batch in shown)
        return replay()

    def _admit(self, key: Hashable) -> bool:
        """Return whether a kind of step may have a graph."""
        if key in self._seen or len(self._seen) < MOST_GRAPHS:
            return True
        if not self._is_full:
            self._engine.log(
                f"more than {MOST_GRAPHS} kinds of steps: others run eagerly; a schedule of betas, weights or "
                "probabilities makes each step a kind of its own"
            )
        self._is_full = True
        return False

    def _first(self, key: Hashable, state: TrainingState, shown: Sequence[Batch], index: int) -> Rows:
        """Run a new kind of step eagerly, and detect whether it can be captured; a first use may synchronize once."""
        before = python_state(state)
        state.images_were_read = False
        rows, wait = self._recorder.run(lambda: take_step(state, shown, index, self._engine))
        changed = [name for name, value in python_state(state).items() if before.get(name, value) != value]
        if changed:
            self._refuse(f"{changed[0]} changes from step to step")
        elif state.images_were_read:
            self._refuse("a module reads step.images_seen")
        elif wait and key in self._waited:
            self._refuse(wait)
        (self._waited if wait else self._seen).add(key)
        return rows

    def _record(self, key: Hashable, state: TrainingState, shown: Sequence[Batch], index: int) -> bool:
        still = copy.deepcopy(shown)
        images = state.images
        set_capturable(state, True)
        try:
            replay = self._recorder.record(lambda: take_step(state, still, index, self._engine))
        except (RuntimeError, PluginError) as error:
            for optimizer, _ in state.optimizers().values():
                optimizer.zero_grad()
            self._refuse(str(error).strip().splitlines()[0])
            return False
        finally:
            state.images = images
            set_capturable(state, False)
        self._graphs[key] = tensors_of(still), replay
        return True

    def _refuse(self, reason: str) -> None:
        self._refused = True
        self._graphs = {}
        self._engine.log(f"CUDA graphs disabled, steps run eagerly: {reason}")


def make_stepper(engine: Engine) -> Stepper:
    """Return the function that takes the steps of a run."""
    if engine.plan.engine == "graph" and engine.plan.accumulate > 1:
        engine.log("CUDA graphs disabled, steps run eagerly: each microbatch has its own seed")
    elif engine.plan.engine == "graph":
        return GraphedSteps(engine, CudaRecorder(engine.device))
    return lambda state, shown, index: take_step(state, shown, index, engine)


def set_capturable(state: TrainingState, capturable: bool) -> None:
    """Let the optimizers be captured; outside a capture, torch warns of a capturable optimizer."""
    for optimizer, _ in state.optimizers().values():
        for group in optimizer.param_groups:
            group["capturable"] = capturable


def graph_key(state: TrainingState, shown: Sequence[Batch], index: int) -> Hashable | None:
    """Return the scalars that a step depends on, or None while a network grows and they change all the time."""
    for network in state.networks():
        if isinstance(network, Growing) and state.images < network.phases()[-1]:
            return None
    numbers: list[Any] = [
        tuple(group[name] for name in sorted(group) if name != "capturable" and isinstance(group[name], _SCALARS))
        for optimizer, _ in state.optimizers().values()
        for group in optimizer.param_groups
    ]
    images = state.images
    for number, batch in enumerate(shown):
        numbers += _scalars_at(state, images, index * len(shown) + number)
        images += len(batch.real)
    numbers += _scalars_at(state, images, index)
    return (*numbers, *((tuple(tensor.shape), tensor.dtype) for tensor in tensors_of(shown)))


def _scalars_at(state: TrainingState, images: int, index: int) -> list[Any]:
    weights = [each.weight.at(images) if index % each.every == 0 else None for each in state.penalties]
    return [*weights, *(each.probability.at(images) for each in state.augmentations)]


def python_state(state: TrainingState) -> dict[str, Any]:
    """Return Python attributes of modules and the identities of their tensors' storages, by qualified name."""
    found: dict[str, Any] = {}
    for owner, module in state.modules().items():
        for name, part in module.named_modules():
            where = f"{owner}.{name}" if name else owner
            for key, value in vars(part).items():
                if isinstance(value, _SCALARS):
                    found[f"{where}.{key}"] = value
                elif isinstance(value, Tensor):
                    found[f"{where}.{key}"] = value.untyped_storage()._cdata
            for key, buffer in part.named_buffers(recurse=False):
                found[f"{where}.{key}"] = buffer.untyped_storage()._cdata
    return found


def tensors_of(shown: Sequence[Batch]) -> list[Tensor]:
    """Return all tensors of batches in a fixed order."""
    everything = [(batch.real, batch.latents, batch.labels, *(batch.labelled or ())) for batch in shown]
    return [tensor for tensors in everything for tensor in tensors if tensor is not None]
