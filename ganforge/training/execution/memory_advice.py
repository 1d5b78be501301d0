"""Advice after an out-of-memory error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.core.out_of_memory import OutOfMemory, is_out_of_memory


@contextmanager
def advising_on_memory(config: RunConfig, data: DataSpec) -> Iterator[None]:
    """Raise `OutOfMemory` with suggested options when the block runs out of memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        training = config.training
        shape = "x".join(map(str, data.shape))
        remedies = []
        if training.batch > training.accumulate:
            parts = next(n for n in range(training.accumulate + 1, training.batch + 1) if training.batch % n == 0)
            remedies += [f"--accumulate {parts}", f"--batch {max(1, training.batch // 2)}"]
        if not training.recompute:
            remedies.append("--set training.recompute=true")
        if training.precision == "float32":
            remedies.append("--precision bfloat16")
        remedies.append("smaller networks, or a lower --resolution")
        raise OutOfMemory(
            f"out of memory: a step on {training.batch // training.accumulate} examples of {shape} does not fit",
            f"try {', '.join(remedies)}; checkpoints can be resumed",
        ) from error
