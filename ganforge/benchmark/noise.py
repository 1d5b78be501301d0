"""Examples drawn at random, of the form that a recipe's own data have: nothing needs to be had or decoded."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.data.pack import open_configured
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry

MOST_BYTES = 1 << 26
"""Of examples, unless two batches take more."""

MOST_EXAMPLES = 20_000


def read_spec(config: RunConfig, registry: Registry) -> DataSpec:
    """The form of the examples that a configuration names; as few of them are drawn as can be.

    Raises:
        GanforgeError: They are not to be had.
    """
    data = config.data
    if "count" in data.options:
        data = replace(data, options={**data.options, "count": 1})
    with tempfile.TemporaryDirectory(prefix="ganforge-bench-") as folder:
        return open_configured(data, registry, cache=Path(folder)).spec


def draw_noise(spec: DataSpec, batch: int) -> PackedData:
    """Random examples of a form, all classes alike frequent; a few thousand, but at least two batches."""
    source = torch.Generator().manual_seed(0)
    values = 1
    for size in spec.shape:
        values *= size
    count = max(2 * batch, min(MOST_EXAMPLES, MOST_BYTES // values))
    if spec.is_image:
        examples = torch.randint(0, 256, (count, *spec.shape), dtype=torch.uint8, generator=source)
    else:
        examples = torch.randn(count, *spec.shape, generator=source)
    labels = torch.arange(count) % spec.num_classes if spec.num_classes else None
    sources = None
    if spec.source_shape:
        pixels = torch.randint(0, 256, (count, *spec.source_shape), dtype=torch.uint8, generator=source)
        sources = PackedData("noise", pixels, None, (), "0" * 64)
    return PackedData("noise", examples, labels, spec.class_names, "0" * 64, sources=sources)
