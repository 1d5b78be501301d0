"""The most that the machine itself does: products of matrices, and copies."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ganforge.benchmark.timing import Case, repeat

EDGES = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices."""

COPIED_BYTES = {"cpu": 1 << 26, "cuda": 1 << 30}
"""More than caches hold."""


def product_flops(device: torch.device) -> int:
    """Operations in one product."""
    return 2 * EDGES[device.type] ** 3


def copy_bytes(device: torch.device) -> int:
    """Bytes read and written in one copy."""
    return 2 * COPIED_BYTES[device.type]


def ceiling_cases(device: torch.device) -> dict[str, Case]:
    """What is timed: ``float32`` and ``bfloat16`` products, and ``copy``.

    Products of float32 are computed as convolutions are, that is in TF32 where torch lets these use it.
    """
    edge, size = EDGES[device.type], COPIED_BYTES[device.type]
    cases = {}
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        matrix = torch.randn(edge, edge, device=device).to(kind)
        cases[name] = repeat(_product(matrix, torch.empty_like(matrix)))
    source = torch.ones(size, dtype=torch.uint8, device=device)
    cases["copy"] = repeat(_copy(source, torch.empty_like(source)))
    return cases


def _product(matrix: torch.Tensor, into: torch.Tensor) -> Callable[[], None]:
    def multiply() -> None:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high" if matrix.is_cuda and torch.backends.cudnn.allow_tf32 else before)
        try:
            torch.mm(matrix, matrix, out=into)
        finally:
            torch.set_float32_matmul_precision(before)

    return multiply


def _copy(source: torch.Tensor, into: torch.Tensor) -> Callable[[], None]:
    def copy() -> None:
        into.copy_(source)

    return copy
