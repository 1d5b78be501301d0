"""Data sets and generators of the Hugging Face Hub for ganforge."""

from __future__ import annotations

from typing import Any

from ganforge import Exporter, hookimpl

from ganforge_huggingface.cli import app
from ganforge_huggingface.dataset import HubDataset
from ganforge_huggingface.exporter import HubExporter
from ganforge_huggingface.hub import from_pretrained, pull, push

GANFORGE_API = 2

__all__ = ["HubDataset", "HubExporter", "from_pretrained", "pull", "push"]


@hookimpl
def ganforge_datasets() -> dict[str, Any]:
    """Return the data set."""
    return {"huggingface": HubDataset}


@hookimpl
def ganforge_exporters() -> dict[str, type[Exporter]]:
    """Return the exporter."""
    return {"huggingface": HubExporter}


@hookimpl
def ganforge_commands() -> dict[str, Any]:
    """Return the command."""
    return {"hub": app}
