"""Choice of the compute device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is one.

    Raises:
        OptionError: It is unknown, or CUDA is not to be had.
    """
    import torch

    choices = ("auto", "cuda", "cpu")
    if name not in choices:
        raise OptionError(f"--device {name}: there is no such device", nearest(name, choices))
    if name == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch finds no CUDA device here", "use --device cpu, or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local_rank, found = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
    if local_rank >= found:
        raise OptionError(
            f"process {local_rank} of this machine has no GPU: torch finds {found}", f"start {found} of them at most"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda")
