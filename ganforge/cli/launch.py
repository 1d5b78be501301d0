"""Several processes on this machine, by PyTorch's own launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ganforge.errors import OptionError

if TYPE_CHECKING:
    import torch


def launch(count: int, device: torch.device, arguments: Sequence[str], then: str) -> int:
    """Run this command line in so many processes, each on a GPU of its own, and wait for them.

    A signal that comes meanwhile is sent on to all of them; if one of them fails, the others are ended.

    Args:
        count: How many.
        device: The kind of device: a GPU for each, or the CPU for all.
        arguments: The command line, which they get as it is.
        then: What to do if one of them is killed.

    Returns:
        The code to leave with.

    Raises:
        OptionError: There are not so many GPUs.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    if device.type == "cuda" and count > torch.cuda.device_count():
        raise OptionError(f"--gpus {count}: torch finds {torch.cuda.device_count()} here", "ask for so many at most")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # each process speaks for itself
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle="SIGTERM,SIGINT,SIGUSR1",
    )
    try:
        elastic_launch(config, sys.executable)("-m", "ganforge", *arguments)
    except SignalException as error:
        return 128 + int(error.sigval)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return int(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        sys.stderr.write(f"error: process {rank} of {count} was ended by {name} - {then}\n")
        return 1
    return 0
