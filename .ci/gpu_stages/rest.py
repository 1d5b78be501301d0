"""Stage 5: too little memory, prefetching, collectives, and compiled networks."""

from __future__ import annotations

import io
import os
import socket
from contextlib import redirect_stderr
from functools import partial

import torch
import torch.distributed as dist
from items import Context, Item, device_of, require, run_command
from training import SMALL

from ganforge.core.distributed import Workers, join_workers
from ganforge.training import loop
from ganforge.training.execution import autotune
from ganforge.training.loading import sampler
from ganforge.training.loading.prefetch import PrefetchingFeeder


def train(context: Context, *arguments: object) -> int:
    """Train a small run, and return the exit code."""
    os.environ["GANFORGE_CACHE"] = str(context.work / "cache")
    sizes = ["--set", "data.count=64", *(SMALL if context.rehearse else [])]
    return run_command(
        "train", "--arch", "dcgan", "--resolution", context.pick(64, 16), "--device", context.device, *sizes,
        "--out", context.work, *arguments,
    )  # fmt: skip


def exhaust(*_: object, **__: object) -> None:
    """Fail like a device without memory."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")


def run_out_of_memory(context: Context) -> None:
    """Run out of memory while plans are measured, and while training: an error in one line, not a traceback."""
    device = device_of(context)
    plan = ["--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous"]
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(0.02)
    for arguments in ([], plan):
        if device.type == "cpu":
            autotune.make_stepper = lambda engine: exhaust
            loop.make_stepper = lambda engine: exhaust
        said = io.StringIO()
        with redirect_stderr(said):
            code = train(context, "--batch", context.pick(16384, 8), "--images", context.pick("32k", 64), *arguments)
        print(said.getvalue())
        require(code == 2, f"exit code {code}")
        require("out of memory" in said.getvalue() and "Traceback" not in said.getvalue(), "no message")


def prefetch(context: Context) -> None:
    """Train without a share of the GPU's memory for the data."""
    device_of(context)
    sampler.open_feeder = PrefetchingFeeder
    code = train(context, "--images", context.pick("50k", 64), "--batch", context.pick(128, 8))
    require(code == 0, f"exit code {code}")


def reduce_gradients(context: Context) -> None:
    """All-reduce gradients in a group of one process, through the backend of the device."""
    device = device_of(context)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "LOCAL_RANK": "0"}
    os.environ["WORLD_SIZE"] = "1"
    initialize = dist.init_process_group
    require(join_workers(device).size == 1, "more than one process")
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    initialize(backend)
    weight = torch.nn.Parameter(torch.ones(3, device=device))
    unused = torch.nn.Parameter(torch.ones(2, device=device))
    weight.grad = torch.arange(3.0, device=device)
    workers, values = Workers(0, 1, 0), torch.ones(2, device=device)
    workers.size = 2  # a group of one returns its own sums
    workers.all_reduce_gradients([weight, unused], values)
    print(weight.grad, unused.grad, values, dist.get_backend())
    require(torch.equal(weight.grad, torch.arange(3.0, device=device)), "gradients changed")
    counted = torch.ones(1)
    dist.all_reduce(counted)
    require(counted.item() == 1, "a tensor on the CPU changed")
    dist.destroy_process_group()


def compile_networks(context: Context) -> None:
    """Train with compiled networks."""
    device_of(context)
    if context.rehearse:  # the compiler is tested elsewhere, and slow
        torch.compile = partial(torch.compile, backend="aot_eager")
    code = train(context, "--engine", "compile", "--images", context.pick("20k", 32), "--batch", context.pick(128, 8))
    require(code == 0, f"exit code {code}")


ITEMS = [
    Item("out of memory", 120, run_out_of_memory),
    Item("prefetching", 90, prefetch),
    Item("collectives", 60, reduce_gradients),
    Item("compiled networks", 200, compile_networks),
]
