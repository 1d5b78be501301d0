"""What to do when memory does not suffice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganforge.config.schema import RunConfig
    from ganforge.contract.data import DataSpec


@contextmanager
def explaining_memory(config: RunConfig, data: DataSpec) -> Iterator[None]:
    """Say of a run that does not fit what would.

    Raises:
        OutOfMemory: Memory did not suffice in the block.
    """
    from ganforge.core.out_of_memory import OutOfMemory, is_out_of_memory

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
            f"out of memory: steps of {training.batch // training.accumulate} examples of {shape} at once do not fit",
            f"try {', '.join(remedies)}; what was saved can be gone on with",
        ) from error
