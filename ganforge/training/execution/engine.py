"""How steps are computed: kind of numbers, layout of maps, threads, and whether networks are compiled."""

from __future__ import annotations

import platform
from collections.abc import Callable, Hashable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ganforge.contract.capabilities import Recomputable
from ganforge.core.distributed import ALONE, Workers
from ganforge.sampling import Precision

EngineName = Literal["eager", "compile", "graph"]
Layout = Literal["contiguous", "channels_last"]

_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class ExecutionPlan:
    """What a run settles on before it begins. It changes nothing beyond rounding, but that statistics over a batch are
    those of a part where a batch is computed in parts.

    Attributes:
        engine: ``eager``: operation by operation; ``compile``: networks through torch.compile; ``graph``: whole steps
            as CUDA graphs.
        precision: In which numbers the networks run. Weights, optimisers, losses and penalties are float32 always.
        layout: Of maps ``[N, C, H, W]`` in memory: ``channels_last`` is NHWC.
        threads: Of the CPU; None to leave them as they are.
        accumulate: In how many parts a batch is computed, by all processes together; more take less memory.
        recompute: Whether maps that networks declare as `Recomputable` are computed again for gradients, not kept.
    """

    engine: EngineName = "eager"
    precision: Precision = "float32"
    layout: Layout = "contiguous"
    threads: int | None = None
    accumulate: int = 1
    recompute: bool = False

    def describe(self) -> str:
        """In words."""
        threads = "" if self.threads is None else f", {self.threads} thread{'s' if self.threads > 1 else ''}"
        parts = "" if self.accumulate == 1 else f", batches in {self.accumulate} parts"
        return f"{self.engine}, {self.precision}, {self.layout}{threads}{parts}{', recomputing' * self.recompute}"


class Engine:
    """Computes networks by a plan.

    Args:
        plan: How.
        device: Where the networks are.
        say: Told in one line what could not be done as planned.
        workers: The processes that compute each batch together; their number divides that of the plan's parts.

    Attributes:
        plan: As given.
        device: As given.
        workers: As given.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        device: torch.device,
        say: Callable[[str], None] = lambda text: None,
        workers: Workers = ALONE,
    ) -> None:
        self.plan = plan
        self.say = say
        self.device = device
        self.workers = workers
        self._compiled: dict[Hashable, Callable[..., Tensor]] = {}
        if plan.threads is not None:
            torch.set_num_threads(plan.threads)
        if device.type == "cuda":  # shapes do not change, so it pays to try all algorithms once
            torch.backends.cudnn.benchmark = not torch.are_deterministic_algorithms_enabled()

    def place(self, network: nn.Module) -> None:
        """Make a network ready to be computed by the plan; its weights stay the same parameters."""
        if self.plan.recompute and isinstance(network, Recomputable):
            for module in network.recomputable():
                _recompute(module)
        for parameter in network.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=_FORMATS[self.plan.layout])

    def to_memory_format(self, examples: Tensor) -> Tensor:
        """Bring images ``[N, C, H, W]`` into the layout; vectors and classes stay as they are."""
        return examples.contiguous(memory_format=_FORMATS[self.plan.layout]) if examples.dim() == 4 else examples

    def compute(self, function: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """``function(*inputs)``, in float32 at least; it may be differentiated twice."""
        reduced = self.plan.precision == "bfloat16"
        with torch.autocast(self.device.type, torch.bfloat16) if reduced else nullcontext():
            output = function(*inputs)
        return output.float() if output.dtype == torch.bfloat16 else output

    def compute_once(self, function: Callable[..., Tensor], *inputs: Any) -> Tensor:
        """As `compute`, but for what is differentiated once at most, as a compiled network can be."""
        if self.plan.engine != "compile":
            return self.compute(function, *inputs)
        if function not in self._compiled:
            self._compiled[function] = torch.compile(function, dynamic=False)
        try:
            return self.compute(self._compiled[function], *inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            self._compiled[function] = function
            reason = str(error).strip().splitlines()[0]
            self.say(f"{_name(function)} is not compiled, but run as it is: {reason}")
            return self.compute(function, *inputs)

    def finish(self) -> None:
        """Wait until the device has done all that it was asked to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


EAGER = Engine(ExecutionPlan(), torch.device("cpu"))
"""Operation by operation in float32, on any device."""


def name_device(device: torch.device) -> str:
    """What a GPU or the processor is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _recompute(module: nn.Module) -> None:
    """Let a module keep what goes in and compute the rest again when gradients are wanted."""
    forward = module.forward

    def lean(*inputs: Any) -> Any:
        return checkpoint(forward, *inputs, use_reentrant=False) if torch.is_grad_enabled() else forward(*inputs)

    module.forward = lean


def _name(function: Callable[..., Tensor]) -> str:
    owner = getattr(function, "__self__", function)
    return f"{type(owner).__name__}.{getattr(function, '__name__', 'forward')}"
