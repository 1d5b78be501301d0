"""Checks of a generator before export: whether it uses labels, and whether its output is valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError, PluginError
from ganforge.contract.networks import Generator
from ganforge.core.accelerator import fork_random_state


class _ReadDetector(TorchFunctionMode):
    """Detects whether an operation reads a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor
        self.was_read = False

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        self.was_read |= any(leaf is self.tensor for leaf in tree_leaves((list(args), dict(kwargs or {}))))
        return func(*args, **(kwargs or {}))


def effective_spec(network: Generator, data: DataSpec) -> DataSpec:
    """Return the data, without labels and sources if ``forward`` ignores labels.

    Args:
        network: In evaluation mode.
        data: Training data.
    """
    if not data.is_conditional:
        return data
    like = next(each for each in network.state_dict().values() if each.is_floating_point())
    z = torch.zeros(2, network.z_dim, dtype=like.dtype, device=like.device)
    labels = torch.zeros(2, dtype=torch.int64, device=like.device)
    if data.source_shape:
        labels = torch.zeros(2, *data.source_shape, dtype=like.dtype, device=like.device)
    elif data.numbers:
        labels = torch.zeros(2, len(data.numbers), dtype=like.dtype, device=like.device)
    with (
        fork_random_state(like.device),
        torch.no_grad(),
        _ReadDetector(labels) as watch,
    ):
        network(z, labels)
    return data if watch.was_read else DataSpec(data.shape)


def check_output(output: Tensor, data: DataSpec, name: str) -> None:
    """Validate the output of a generator.

    Args:
        output: A batch of outputs.
        data: Training data.
        name: Name of the generator's class.

    Raises:
        PluginError: The shape is invalid.
        GanforgeError: A value is non-finite.
    """
    wanted = [len(output), *data.shape]
    if list(output.shape) != wanted:
        raise PluginError(f"{name} returns shape {list(output.shape)}, its data have {wanted}")
    if not output.isfinite().all():
        raise GanforgeError(f"{name} returns non-finite values", "export an earlier checkpoint")
