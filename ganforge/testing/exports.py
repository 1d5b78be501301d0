"""Checks of exports."""

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
    """Check that a generator can be exported and verified in a new process, like ``ganforge export``.

    For authors of generators and of exporters, such as ``OnnxExporter()``. Returns the report of the comparison; the
    file is removed.
    """
    torch.manual_seed(0)
    return verify_export(factory(data, **options), data, exporter)


def verify_export(network: Generator, data: DataSpec, exporter: Exporter) -> ExportReport:
    """Export a copy with perturbed weights, so that weights that start at zero are compared too."""
    moved = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    card = {"generator": {"name": type(network).__name__, "options": {}}, "data": describe_spec(data)}
    with tempfile.TemporaryDirectory(prefix="ganforge-check-") as folder:
        try:
            return exporter.export(moved, card, Path(folder) / f"generator{exporter.suffix}")
        except GanforgeError as error:
            raise AssertionError(str(error)) from error
