"""Feature maps inside a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.errors import OptionError
from ganforge.explore.spaces import LatentSpace


def find_map(space: LatentSpace, edge: int) -> nn.Module:
    """Return the module that makes the last feature map with an edge of at most `edge`, and of those the largest.

    Feature maps are outputs ``[1, K, h, w]`` with more channels than an image.

    Raises:
        OptionError: The generator has no such map.
    """
    made: list[tuple[int, nn.Module]] = []
    channels = 0

    def record(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output.is_floating_point():
            made.append((output.shape[1], module))
            edges[module] = max(output.shape[2:])

    edges: dict[nn.Module, int] = {}
    hooks = [module.register_forward_hook(record) for module in space.generator.modules()]
    try:
        with torch.no_grad():
            channels = space.decode(space.from_seeds([0])).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    fitting = [module for depth, module in made if depth > channels and edges[module] <= edge]
    if not fitting:
        known = sorted({edges[module] for depth, module in made if depth > channels})
        raise OptionError(
            f"{type(space.generator).__name__} has no feature map of at most {edge} pixels",
            f"it has maps of {', '.join(map(str, known))}" if known else "use a generator of convolutions",
        )
    largest = max(edges[module] for module in fitting)
    return [module for module in fitting if edges[module] == largest][-1]


@contextmanager
def captured(module: nn.Module) -> Iterator[Callable[[], Tensor]]:
    """Yield a function that returns the module's last output; differentiable."""
    outputs: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Tensor) -> None:
        outputs[:] = [output]

    hook = module.register_forward_hook(keep)
    try:
        yield lambda: outputs[0]
    finally:
        hook.remove()
