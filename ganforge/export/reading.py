"""What can be told of a generator before it is written: its data, whether it looks at labels, whether it is sound."""

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


class _Watch(TorchFunctionMode):
    """Notices when a tensor is computed with."""

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


def what_it_knows(network: Generator, data: DataSpec) -> DataSpec:
    """The data as the generator knows them: without classes, or sources, if its ``forward`` never looks at labels.

    Args:
        network: In evaluation mode.
        data: On which it was trained.
    """
    if not data.is_conditional:
        return data
    like = next(each for each in network.state_dict().values() if each.is_floating_point())
    z = torch.zeros(2, network.z_dim, dtype=like.dtype, device=like.device)
    labels = torch.zeros(2, dtype=torch.int64, device=like.device)
    if data.source_shape:
        labels = torch.zeros(2, *data.source_shape, dtype=like.dtype, device=like.device)
    with torch.random.fork_rng(devices=[like.device] if like.is_cuda else []), torch.no_grad(), _Watch(labels) as watch:
        network(z, labels)
    return data if watch.was_read else DataSpec(data.shape)


def check_output(output: Tensor, data: DataSpec, name: str) -> None:
    """Refuse a generator that has diverged, or that gives something else than its data ask for.

    Args:
        output: A batch of what it gives.
        data: On which it was trained.
        name: Of its class.

    Raises:
        PluginError: The shape is another.
        GanforgeError: Numbers are not finite.
    """
    wanted = [len(output), *data.shape]
    if list(output.shape) != wanted:
        raise PluginError(f"{name} gives {list(output.shape)} where its data ask for {wanted}")
    if not output.isfinite().all():
        raise GanforgeError(f"{name} gives numbers that are not finite", "export an earlier checkpoint")
