"""Weights of a network for the duration of a call: scaled, and cast to bfloat16, by one operation for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.stateless import _reparametrize_module

from ganforge.layers.equalized import RuntimeScaled

KEPT = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, ParametrizationList)
"""Layers whose parameters stay float32: normalizations, as their statistics, and parametrizations, as their buffers."""


class _Prepare(torch.autograd.Function):
    """Multiplies tensors by a number each, and casts them to a dtype; twice differentiable."""

    @staticmethod
    def forward(ctx: Any, dtype: torch.dtype, scales: list[float], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.dtype, ctx.scales = tensors[0].dtype, scales
        if dtype == ctx.dtype:
            prepared = list(torch._foreach_mul(list(tensors), scales))
        else:
            prepared = [torch.empty_like(each, dtype=dtype) for each in tensors]
            torch._foreach_copy_(prepared, list(tensors))
            if any(scale != 1.0 for scale in scales):
                torch._foreach_mul_(prepared, scales)
        needed = ctx.needs_input_grad[2:]
        ctx.mark_non_differentiable(*(each for each, need in zip(prepared, needed, strict=True) if not need))
        return tuple(prepared)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = [index for index, each in enumerate(gradients) if each is not None]
        results: list[Tensor | None] = [None] * len(gradients)
        if found:
            scales = [ctx.scales[index] for index in found]
            prepared = _Prepare.apply(ctx.dtype, scales, *(gradients[index] for index in found))
            for index, each in zip(found, prepared, strict=True):
                results[index] = each
        return (None, None, *results)


@contextmanager
def prepared_weights(function: Callable[..., Any], dtype: torch.dtype) -> Iterator[None]:
    """Scale the float32 weights of a module, or of a method's module, in the block.

    Args:
        function: A module or its method.
        dtype: ``torch.bfloat16`` also replaces all weights by copies of this dtype; else ``torch.float32``.
    """
    module: Any = getattr(function, "__self__", function)
    parts = dict(module.named_modules()) if isinstance(module, nn.Module) else {}
    layers = [each for each in parts.values() if isinstance(each, RuntimeScaled) and each.weight.dtype == torch.float32]
    weights = {} if dtype == torch.float32 else dict(_find_weights(parts))
    scaled: list[tuple[Tensor, float]] = []
    for layer in layers:
        scaled.append((layer.weight, layer.scale))
        if layer.bias is not None:
            scaled.append((layer.bias, layer.lr_multiplier))
    if not weights and not scaled:
        yield
        return
    tensors = [each for each, _ in scaled]
    scales = [scale for _, scale in scaled] + [1.0] * len(weights)
    prepared = iter(_Prepare.apply(dtype, scales, *tensors, *weights.values()))
    for layer in layers:
        layer.prescaled = (next(prepared), None if layer.bias is None else next(prepared))
    try:
        with _reparametrize_module(module, dict(zip(weights, prepared, strict=True))):
            yield
    finally:
        for layer in layers:
            layer.prescaled = None


def _find_weights(parts: dict[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and non-persistent buffers, which are constants, by name; not those of `RuntimeScaled`."""
    for path, part in parts.items():
        if isinstance(part, KEPT):
            continue
        buffers = [(name, getattr(part, name)) for name in part._non_persistent_buffers_set]
        constants = [(name, buffer) for name, buffer in buffers if buffer is not None]
        for name, weight in (*part.named_parameters(recurse=False), *constants):
            is_scaled = isinstance(part, RuntimeScaled) and name in ("weight", "bias")
            if weight.dtype == torch.float32 and not is_scaled:
                yield f"{path}.{name}" if path else name, weight
