"""Random data in the format of a recipe's own data."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch

from ganforge.config.schema import RunConfig
from ganforge.contract.data import DataSpec
from ganforge.data.pack import open_data
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry

MOST_BYTES = 1 << 26  # maximum size of the examples in values, unless two batches are larger

MOST_EXAMPLES = 20_000


def read_spec(config: RunConfig, registry: Registry) -> DataSpec:
    """Return the format of the data of a configuration, from as few examples as possible."""
    data = config.data
    options = dict(data.options)
    if data.source in registry.names("dataset") and "count" in registry.options("dataset", data.source):
        options["count"] = 1
    with tempfile.TemporaryDirectory(prefix="ganforge-bench-") as folder:
        return open_data(
            data.source,
            resolution=data.resolution,
            options=options,
            registry=registry,
            cache=Path(folder),
            skip_bad=data.skip_bad,
        ).spec


def draw_noise(spec: DataSpec, batch: int) -> PackedData:
    """Draw random examples with balanced classes: a few thousand, at least two batches."""
    generator = torch.Generator().manual_seed(0)
    count = max(2 * batch, min(MOST_EXAMPLES, MOST_BYTES // math.prod(spec.shape)))
    if spec.is_image:
        examples = torch.randint(0, 256, (count, *spec.shape), dtype=torch.uint8, generator=generator)
    else:
        examples = torch.randn(count, *spec.shape, generator=generator)
    labels = torch.arange(count) % spec.num_classes if spec.num_classes else None
    sources = None
    if spec.source_shape:
        pixels = torch.randint(0, 256, (count, *spec.source_shape), dtype=torch.uint8, generator=generator)
        sources = PackedData("noise", pixels, None, (), "0" * 64)
    return PackedData("noise", examples, labels, spec.class_names, "0" * 64, sources=sources)
