"""Choice of the compute device."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ganforge.contract.errors import OptionError, nearest

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
"""Names of devices; ``auto`` is the accelerator that torch finds, else the CPU."""


def find_accelerator() -> torch.device | None:
    """Return the accelerator that torch finds on this machine; None without a supported one."""
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    return found if found is not None and found.type in DEVICES else None


def choose_device(name: str) -> torch.device:
    """Return the device of one of `DEVICES`; of several accelerators, the one of this process's local rank."""
    import torch

    if name not in DEVICES:
        raise OptionError(f"--device {name}: unknown device", nearest(name, DEVICES))
    found = find_accelerator()
    if name == "cpu" or (name == "auto" and found is None):
        return torch.device("cpu")
    if found is None or name not in ("auto", found.type):
        present = "only the CPU" if found is None else f"only {found.type} and the CPU"
        raise OptionError(
            f"--device {name}: device not found; torch {torch.__version__} finds {present} on this machine",
            "use --device auto" if found is None else f"use --device {found.type}, or --device auto",
        )
    local_rank, count = int(os.environ.get("LOCAL_RANK", 0)), torch.accelerator.device_count()
    if local_rank >= count:
        raise OptionError(
            f"process {local_rank} of this machine has no GPU: torch finds {count}", f"start at most {count} processes"
        )
    if count > 1:
        torch.accelerator.set_device_index(local_rank)
    return torch.device(found.type)
