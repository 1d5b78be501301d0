"""Execution engine: precision, memory format, CPU threads and compilation."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ganforge.contract.capabilities import Recomputable
from ganforge.core.accelerator import synchronize
from ganforge.core.distributed import ALONE, Workers
from ganforge.sampling import Precision
from ganforge.training.execution.prepared_weights import prepared_weights

EngineName = Literal["eager", "compile", "graph"]
Layout = Literal["contiguous", "channels_last"]

Output = TypeVar("Output", Tensor, list[Tensor])

_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class ExecutionPlan:
    """Settings of the computation of a run.

    All plans give equal results up to rounding, except for batch statistics, which are those of a microbatch.

    Attributes:
        engine: ``eager``; ``compile``, networks through torch.compile; or ``graph``, steps as CUDA graphs.
        precision: Precision of the networks. Weights, optimizers, losses and penalties are always float32.
        layout: Memory format of feature maps ``[N, C, H, W]``: ``channels_last`` is NHWC.
        threads: Number of CPU threads; None keeps torch's setting.
        accumulate: Number of microbatches per batch, over all processes; more need less memory.
        recompute: Recompute the activations of `Recomputable` networks in the backward pass.
    """

    engine: EngineName = "eager"
    precision: Precision = "float32"
    layout: Layout = "contiguous"
    threads: int | None = None
    accumulate: int = 1
    recompute: bool = False

    def describe(self) -> str:
        """Return a short description."""
        threads = "" if self.threads is None else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = "" if self.accumulate == 1 else f", {self.accumulate} microbatches"
        return f"{self.engine}, {self.precision}, {self.layout}{threads}{parts}{', recomputing' * self.recompute}"


class Engine:
    """Runs networks according to an execution plan; the number of processes divides ``plan.accumulate``."""

    def __init__(
        self,
        plan: ExecutionPlan,
        device: torch.device,
        log: Callable[[str], None] = lambda text: None,
        workers: Workers = ALONE,
    ) -> None:
        self.plan = plan
        self.log = log
        self.device = device
        self.workers = workers
        self._compiled: dict[Hashable, Any] = {}
        if plan.threads is not None:
            torch.set_num_threads(plan.threads)
        if device.type == "cuda":  # shapes are constant, so cuDNN's benchmark pays off
            torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()

    def prepare(self, network: nn.Module) -> None:
        """Prepare a network in place; its parameters keep their identity."""
        if self.plan.recompute and isinstance(network, Recomputable):
            for module in network.recomputable():
                _checkpoint_activations(module)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=_FORMATS[self.plan.layout])

    def to_memory_format(self, examples: Tensor) -> Tensor:
        """Convert images ``[N, C, H, W]`` to the memory format; return other tensors unchanged."""
        return examples.contiguous(memory_format=_FORMATS[self.plan.layout]) if examples.dim() == 4 else examples

    def compute(self, function: Callable[..., Output], *inputs: Any) -> Output:
        """Return ``function(*inputs)``, a tensor or a list of tensors, as float32 or wider; twice differentiable."""
        # Compiled functions fuse scaling and casts, and activations are recomputed after the block.
        single = self.plan.engine == "compile" or self.plan.recompute
        dtype = getattr(torch, self.plan.precision)
        weights = nullcontext() if single else prepared_weights(function, dtype)
        reduced = dtype == torch.bfloat16
        with torch.autocast(self.device.type, dtype) if reduced else nullcontext(), weights:
            output = function(*inputs)
        return [_widen(each) for each in output] if isinstance(output, list) else _widen(output)

    def compute_once(self, function: Callable[..., Output], *inputs: Any) -> Output:
        """Return ``function(*inputs)`` like `compute`, but once differentiable, so that it can be compiled."""
        if self.plan.engine != "compile":
            return self.compute(function, *inputs)
        if function not in self._compiled:
            self._compiled[function] = torch.compile(function, dynamic=False)
        try:
            compiled: Callable[..., Output] = self._compiled[function]
            return self.compute(compiled, *inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._compiled[function] = function
            reason = str(error).strip().splitlines()[0]
            self.log(f"{_name(function)} is not compiled and runs eagerly: {reason}")
            return self.compute(function, *inputs)

    def finish(self) -> None:
        """Synchronize with the device."""
        synchronize(self.device)


EAGER = Engine(ExecutionPlan(), torch.device("cpu"))  # eager float32 execution on any device


def _widen(output: Tensor) -> Tensor:
    return output.float() if output.dtype == torch.bfloat16 else output


def _checkpoint_activations(module: nn.Module) -> None:
    """Enable activation checkpointing for a module."""
    forward = module.forward

    def checkpointed(*inputs: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)

    module.forward = checkpointed


def _name(function: Callable[..., object]) -> str:
    owner = getattr(function, "__self__", function)
    return f"{type(owner).__name__}.{getattr(function, '__name__', 'forward')}"
