"""Frozen tensors of a run that an extractor has too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ganforge.runs.checkpoint import digest_tensors, read_tensors

SHARED = (
    "the extractor has weights that are frozen in this run: training optimized its features, so compare no other run"
)
"""Note of a result whose features took part in training."""

_LEAST = 64
"""Minimum size of a compared tensor: smaller ones are filters or constants."""


def took_part(home: Path, extractor: nn.Module) -> bool:
    """Return whether a weight of an extractor is frozen in the run of a directory, or of a folder in it."""
    paths = [path for each in (home, home.parent) for path in each.glob("checkpoints/frozen-*.safetensors")]
    frozen = {digest for path in paths for digest in _digest_each(read_tensors(path)[0])}
    return bool(frozen) and not frozen.isdisjoint(_digest_each(extractor.state_dict()))


def _digest_each(tensors: Mapping[str, Tensor]) -> set[str]:
    """Return the digests of weights, without their names."""
    return {digest_tensors({"": each}) for each in tensors.values() if each.dim() > 1 and each.numel() >= _LEAST}
