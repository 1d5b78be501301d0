"""Distributed training over ``torch.distributed``, for processes of ``torchrun`` or ``ganforge train --gpus N``."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganforge.contract.errors import GanforgeError
from ganforge.core.accelerator import backend_of

TIMEOUT = timedelta(minutes=10)
"""Timeout of a collective, for a machine without power or network. A process that dies is noticed at once."""

PREPARATION = timedelta(days=1)
"""Timeout of `Workers.main_first`, whose block may pack millions of images."""

AGENT_POLL = 1.0
"""Seconds between two looks at torchrun's agent."""

LAUNCHED = "GANFORGE_LAUNCHED"
"""Environment variable of workers that ganforge's launcher starts; it hosts their store and their standard input."""


DIVERGED = (
    "the cause is a faulty device, or a plugin with random numbers not from torch; continue from the last "
    "checkpoint with --resume"
)


class WorkerError(GanforgeError):
    """Lost worker, or one with other weights."""

    code = 1


class MainError(GanforgeError):
    """Error of the main process, which reports it; the message is empty."""

    def __init__(self, code: int) -> None:
        super().__init__("")
        self.code = code


class Workers:
    """One worker in a process group; collectives return at once if it is the only one.

    `patient` is a group of the same workers for waits up to `PREPARATION`.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, local_rank: int = 0, patient: dist.ProcessGroup | None = None
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._patient = patient
        self._vote: Tensor | None = None
        self._counting: dist.Work | None = None

    @property
    def is_main(self) -> bool:
        """True for rank 0, which writes files and messages."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Return this rank's part of `count` examples; all parts are equal."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """All-reduce: sum each tensor over all workers in place, in one message per dtype."""
        if self.size == 1:
            return
        for dtype in dict.fromkeys(each.dtype for each in tensors):
            these = [each for each in tensors if each.dtype == dtype]
            flat = torch.cat([each.detach().flatten() for each in these])
            with _reaching_others():
                dist.all_reduce(flat)
            for each, total in zip(these, torch.split(flat, [each.numel() for each in these]), strict=True):
                each.detach().copy_(total.view(each.shape))

    def broadcast_from_last(self, tensors: Sequence[Tensor]) -> None:
        """Copy each tensor from the worker of the highest rank, in place."""
        if self.size > 1:
            for each in tensors:
                message = each.detach().contiguous()
                with _reaching_others():
                    dist.broadcast(message, self.size - 1)
                each.detach().copy_(message)

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter], values: Tensor) -> None:
        """Sum gradients and `values` over all workers in place, in one message.

        A missing gradient counts as zero; it stays None where all workers lack it.
        """
        if self.size == 1:
            return
        present = parameters[0].new_ones(len(parameters))  # filled on the device: no copy, no wait
        without = [index for index, each in enumerate(parameters) if each.grad is None]
        for index in without:
            present[index].zero_()
            parameters[index].grad = torch.zeros_like(parameters[index])
        self.all_reduce([values, present, *(each.grad for each in parameters if each.grad is not None)])
        if without:
            found = present.tolist()
            for index in without:
                if found[index] == 0:
                    parameters[index].grad = None

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate tensors ``[n, ...]`` of equal shape, in order of rank."""
        if self.size == 1:
            return tensor
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with _reaching_others():
            dist.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)

    def broadcast_bytes(self, content: bytes | None) -> bytes:
        """Return the bytes of rank 0; other ranks may pass None."""
        if self.size == 1:
            assert content is not None
            return content
        length = torch.tensor([0 if content is None or not self.is_main else len(content)])
        with _reaching_others():
            dist.broadcast(length, 0)
            message = torch.empty(int(length), dtype=torch.uint8)
            if content is not None and self.is_main:
                message = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else message
            dist.broadcast(message, 0)
        return message.numpy().tobytes()

    def on_main(self, function: Callable[[], bytes | None]) -> bytes:
        """Run a function in the main process, and return its bytes in all; its `GanforgeError` ends all.

        So a file is read by one process, and need not be visible to others.
        """
        if self.size == 1:
            return function() or b""
        if not self.is_main:
            if code := self.broadcast_bytes(None):
                raise MainError(code[0])
            return self.broadcast_bytes(None)
        try:
            content = function() or b""
        except GanforgeError as error:
            self.broadcast_bytes(bytes([error.code]))
            raise
        self.broadcast_bytes(b"")
        return self.broadcast_bytes(content)

    def vote(self, wish: int) -> int:
        """Return the maximum of all votes; all workers must call this equally often.

        A single worker gets its own vote. Several workers get the result of the vote before, so that none waits; the
        first result is 0.
        """
        if self.size == 1:
            return wish
        answer = self._count()
        self._vote = torch.tensor([wish])
        with _reaching_others():
            self._counting = dist.all_reduce(self._vote, dist.ReduceOp.MAX, async_op=True)
        return answer

    def _count(self) -> int:
        """Return the result of the pending vote; 0 without one."""
        if self._counting is None or self._vote is None:
            return 0
        with _reaching_others():
            self._counting.wait()
        self._counting = None
        return int(self._vote)

    def check_equal(self, digest: str, what: str, hint: str = DIVERGED) -> None:
        """Raise a `WorkerError` unless a hexadecimal digest of `what` is equal in all workers."""
        if self.size == 1:
            return
        rows = self.gather(torch.frombuffer(bytearray(bytes.fromhex(digest)), dtype=torch.uint8)[None])
        apart = [rank for rank in range(self.size) if not torch.equal(rows[rank], rows[0])]
        if apart:
            raise WorkerError(
                f"processes diverged: {what} of {', '.join(map(str, apart))} differ from those of process 0", hint
            )

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Run the block in the first worker of each machine, then in the others."""
        if self.local_rank > 0:
            self.barrier(self._patient)
        yield
        if self.local_rank == 0:
            self.barrier(self._patient)

    def barrier(self, group: dist.ProcessGroup | None = None) -> None:
        """Wait for all workers."""
        if self.size > 1:
            with _reaching_others():
                dist.all_reduce(torch.zeros(1), group=group)

    def close(self) -> None:
        """Destroy the process group."""
        if self.size > 1:
            self._count()
            self.barrier()
            dist.destroy_process_group()


ALONE = Workers()
"""The only worker of a run."""


def is_launched() -> bool:
    """Return whether a launcher started this process as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"))


@contextmanager
def host_workers(size: int) -> Iterator[list[dict[str, str]]]:
    """Host the store of `size` workers on this machine; yield the environment variables of each, by rank.

    Standard input of a worker must be a pipe from this process.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(size), LAUNCHED: "1"}
    shared["LOCAL_WORLD_SIZE"] = str(size)
    yield [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    del store


def join_workers(device: torch.device | None) -> Workers:
    """Join the process group, if a launcher started several workers.

    A worker gets SIGTERM when its launcher, ganforge's or torchrun's agent, has died; it then saves a checkpoint and
    ends. On GPUs, their backend of torch.distributed reduces gradients, such as NCCL; Gloo does all else.
    """
    if not is_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return ALONE
    backend = (
        "gloo" if device is None or device.type == "cpu" else f"cpu:gloo,{device.type}:{backend_of(device).collectives}"
    )
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with _reaching_others():
        if os.environ.pop(LAUNCHED, None):  # not for child processes
            threading.Thread(target=_follow_launcher, daemon=True).start()
            place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            store = dist.TCPStore(*place, is_master=False)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        else:
            if dist.is_torchelastic_launched():
                threading.Thread(target=_follow_agent, args=(os.getppid(),), daemon=True).start()
            dist.init_process_group(backend, timeout=TIMEOUT)
        patient = dist.new_group(timeout=PREPARATION, backend="gloo")
    assert isinstance(patient, dist.ProcessGroup)
    return Workers(rank, size, int(os.environ["LOCAL_RANK"]), patient)


def _follow_launcher() -> None:
    """Send SIGTERM when standard input ends, which the launcher holds open."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _follow_agent(agent: int) -> None:
    """Send SIGTERM when torchrun's agent, the parent, has died; its workers have sessions of their own."""
    while os.getppid() == agent:
        time.sleep(AGENT_POLL)
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _reaching_others() -> Iterator[None]:
    """Convert errors of collectives to `WorkerError`."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] ", "", str(error).strip()).splitlines()[:1] or [type(error).__name__]
        raise WorkerError(
            f"another process of this run ended or is unreachable: {reason[0].split('. ')[0]}",
            "continue from the last checkpoint with --resume, with as many processes as available",
        ) from error
