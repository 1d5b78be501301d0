"""Whether a generator can be exported."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import GanforgeError
from ganforge.contract.exporter import Exporter, ExportReport
from ganforge.contract.networks import Generator
from ganforge.runs.checkpoint import describe_spec


def check_export(factory: Callable[..., Generator], exporter: Exporter, data: DataSpec, **options: Any) -> ExportReport:
    """Check that a generator can be exported, as ``ganforge export`` would: the file is proved in a fresh process.

    For authors of generators, with an exporter of `ganforge.export`, such as ``OnnxExporter()``; and for authors of
    exporters, with any generator.

    Args:
        factory: The class of the generator.
        exporter: Of the format.
        data: What it is to generate.
        options: Its options, where the defaults will not do.

    Returns:
        What was compared. The file itself is gone.
    """
    torch.manual_seed(0)
    return prove_export(factory(data, **options), data, exporter)


def prove_export(network: Generator, data: DataSpec, exporter: Exporter) -> ExportReport:
    """Export a copy whose weights are moved a little, so that what begins at zero counts too.

    Raises:
        AssertionError: It cannot be exported, or is something else then.
    """
    moved = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    card = {
        "generator": {"name": type(network).__name__, "options": {}},
        "data": describe_spec(data),
    }
    with tempfile.TemporaryDirectory(prefix="ganforge-check-") as folder:
        try:
            return exporter.export(moved, card, Path(folder) / f"generator{exporter.suffix}")
        except GanforgeError as error:
            raise AssertionError(str(error)) from error
