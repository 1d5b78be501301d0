"""Weights in bfloat16 for the duration of a call: all of a network are cast by one operation instead of one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.stateless import _reparametrize_module

KEPT = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, ParametrizationList)
"""Layers whose parameters stay float32: normalizations, as their statistics, and parametrizations, as their buffers."""


class _Cast(torch.autograd.Function):
    """Casts several tensors to a dtype; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtype = tensors[0].dtype
        cast = [torch.empty_like(each, dtype=dtype) for each in tensors]
        torch._foreach_copy_(cast, list(tensors))
        needed = ctx.needs_input_grad[1:]
        ctx.mark_non_differentiable(*(each for each, need in zip(cast, needed, strict=True) if not need))
        return tuple(cast)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = [each for each in gradients if each is not None]
        cast = iter(_Cast.apply(ctx.dtype, *found)) if found else iter(())
        return (None, *(None if each is None else next(cast) for each in gradients))


@contextmanager
def reduced_weights(function: Callable[..., Any]) -> Iterator[None]:
    """Replace the float32 weights of a module, or of a method's module, by bfloat16 copies in the block."""
    module: Any = getattr(function, "__self__", function)
    weights = dict(_find_weights(module)) if isinstance(module, nn.Module) else {}
    if not weights:
        yield
        return
    copies = _Cast.apply(torch.bfloat16, *weights.values())
    with _reparametrize_module(module, dict(zip(weights, copies, strict=True))):
        yield


def _find_weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and non-persistent buffers, which are constants, by name."""
    for path, part in module.named_modules():
        if isinstance(part, KEPT):
            continue
        constants = [(name, part.get_buffer(name)) for name in part._non_persistent_buffers_set]
        for name, weight in (*part.named_parameters(recurse=False), *constants):
            if weight.dtype == torch.float32:
                yield f"{path}.{name}" if path else name, weight
