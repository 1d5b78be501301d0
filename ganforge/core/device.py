"""Choice of the compute device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    import torch


def has_cuda() -> bool:
    """Return whether torch finds a CUDA device."""
    import torch

    return torch.cuda.is_available()


def choose_device(name: str) -> torch.device:
    """Return the device of a name; ``auto`` is CUDA if available, else the CPU."""
    import torch

    choices = ("auto", "cuda", "cpu")
    if name not in choices:
        raise OptionError(f"--device {name}: unknown device", nearest(name, choices))
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: no CUDA device found", "use --device cpu or --device auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, found = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local_rank >= found:
        raise OptionError(
            f"process {local_rank} of this machine has no GPU: torch finds {found}", f"start at most {found} processes"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda")
