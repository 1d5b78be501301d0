"""From what a user names to a trained generator: a run, or one safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganforge.cli.common import open_registry
from ganforge.core.console import say

if TYPE_CHECKING:
    import torch

    from ganforge.contract.networks import Generator


def find_weights(run: str | None, out: Path) -> Path:
    """The ``generator.safetensors`` of a run, or the file itself; says which run was taken if none was named.

    Raises:
        OptionError: There is no such run.
        CheckpointError: The run has saved no generator yet.
    """
    from ganforge.runs.folder import RunFolder

    if run is not None and run.endswith(".safetensors"):
        return Path(run)
    folder = RunFolder.find(run, out)
    if run is None:
        say(f"run: {folder.path}")
    return folder.find_generator()


def open_generator(weights: Path, device: torch.device) -> tuple[Generator, dict[str, Any]]:
    """A generator on a device and its card; see `ganforge.runs.checkpoint.load_generator`."""
    from ganforge.runs.checkpoint import load_generator

    generator, card = load_generator(weights, open_registry())
    return generator.to(device), card
