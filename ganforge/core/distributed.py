"""The processes that train one network together: who they are, what they add up, and how they agree.

They are started by ``torchrun`` or by ``ganforge train --gpus N``. All that they
tell one another passes through here; a process alone is a team too, for which nothing of this costs anything.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ganforge.contract.errors import GanforgeError

TIMEOUT = timedelta(minutes=30)
"""After so long without a word from another process, a process gives up. One that dies is noticed at once."""


LAUNCHED = "GANFORGE_LAUNCHED"
"""Set for processes whose standard input is a pipe from ganforge's launcher, which also hosts their store."""


class WorkerError(GanforgeError):
    """Another process of the run is gone, or has come to other numbers."""

    code = 1


class Workers:
    """One process among those that train together.

    Args:
        rank: Its number, in [0, size).
        size: How many there are.
        local_rank: Its number among those of its machine.

    Attributes:
        rank: As given.
        size: As given.
        local_rank: As given.
    """

    def __init__(self, rank: int = 0, size: int = 1, local_rank: int = 0) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self._vote: Tensor | None = None
        self._counting: dist.Work | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and speaks to people."""
        return self.rank == 0

    def shard(self, count: int) -> slice:
        """Which of so many examples are this process's: an equal part, in order of rank."""
        each = count // self.size
        return slice(self.rank * each, (self.rank + 1) * each)

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Put into each tensor its sum over all processes; one message for all tensors of a type."""
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
        """Put into each tensor what it holds in the process of the highest rank."""
        if self.size > 1:
            for each in tensors:
                message = each.detach().contiguous()
                with _reaching_others():
                    dist.broadcast(message, self.size - 1)
                each.detach().copy_(message)

    def all_reduce_gradients(self, parameters: Sequence[nn.Parameter], values: Tensor) -> None:
        """Put into each parameter's gradient, and into some values besides, the sum over all processes.

        It is one message. A parameter without a gradient in some of them counts as zero there, and stays without where
        it has none in any.
        """
        if self.size == 1:
            return
        present = torch.tensor([float(each.grad is not None) for each in parameters], device=parameters[0].device)
        without = [index for index, each in enumerate(parameters) if each.grad is None]
        for index in without:
            parameters[index].grad = torch.zeros_like(parameters[index])
        self.all_reduce([values, present, *(each.grad for each in parameters if each.grad is not None)])
        for index in without:
            if present[index] == 0:
                parameters[index].grad = None

    def gather(self, tensor: Tensor) -> Tensor:
        """The tensors ``[n, ...]`` of all processes, equal in shape, one behind the other in order of rank."""
        if self.size == 1:
            return tensor
        gathered = [torch.empty_like(tensor) for _ in range(self.size)]
        with _reaching_others():
            dist.all_gather(gathered, tensor.contiguous())
        return torch.cat(gathered)

    def broadcast_bytes(self, content: bytes | None) -> bytes:
        """Bytes of the leading process, in all of them; what the others give is not looked at."""
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

    def vote(self, wish: int) -> int:
        """The largest of what all processes wish.

        A process alone gets its own at once. Among several the answer is that to the vote before, so that nobody waits
        for it; the first one is answered with 0. All call it equally often.
        """
        if self.size == 1:
            return wish
        answer = self._count()
        self._vote = torch.tensor([wish])
        with _reaching_others():
            self._counting = dist.all_reduce(self._vote, dist.ReduceOp.MAX, async_op=True)
        return answer

    def _count(self) -> int:
        """The answer to the vote that is still open; 0 if there is none."""
        if self._counting is None or self._vote is None:
            return 0
        with _reaching_others():
            self._counting.wait()
        self._counting = None
        return int(self._vote)

    def check_equal(self, digest: str, what: str) -> None:
        """See that all processes have the same.

        Args:
            digest: Hexadecimal digest of it, as long in every process.
            what: What it is, for a person.

        Raises:
            WorkerError: They have not.
        """
        if self.size == 1:
            return
        rows = self.gather(torch.frombuffer(bytearray(bytes.fromhex(digest)), dtype=torch.uint8)[None])
        apart = [rank for rank in range(self.size) if not torch.equal(rows[rank], rows[0])]
        if apart:
            raise WorkerError(
                f"processes have come apart: {what} of {', '.join(map(str, apart))} differ from those of process 0",
                "this is a fault of a device, or of a plugin that draws numbers not from torch; go on from the last "
                "checkpoint with --resume",
            )

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the first process of each machine run the block before the others, which find what it left behind."""
        if self.local_rank > 0:
            self.barrier()
        yield
        if self.local_rank == 0:
            self.barrier()

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            with _reaching_others():
                dist.all_reduce(torch.zeros(1))

    def close(self) -> None:
        """Part in peace; after an error, processes just leave."""
        if self.size > 1:
            self._count()
            self.barrier()
            dist.destroy_process_group()


ALONE = Workers()
"""A process that trains by itself."""


def is_launched() -> bool:
    """Whether this process was started as one of several."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"))


@contextmanager
def host_workers(size: int) -> Iterator[list[dict[str, str]]]:
    """Host the store by which the processes of this machine find one another.

    Args:
        size: Number of processes.

    Yields:
        The environment variables of each process, by rank. Its standard input must be a pipe from this process.
    """
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(size), LAUNCHED: "1"}
    shared["LOCAL_WORLD_SIZE"] = str(size)
    yield [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]
    del store


def join_workers(on_cuda: bool) -> Workers:
    """Meet the other processes of this run, if the launcher started several.

    A process of ganforge's launcher gets SIGTERM when the launcher dies, however it dies: it saves and ends.

    Args:
        on_cuda: Whether networks are on GPUs, whose gradients NCCL then adds up; all else goes by Gloo.

    Raises:
        WorkerError: They cannot be reached.
    """
    if not is_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        return ALONE
    backend = "cpu:gloo,cuda:nccl" if on_cuda else "gloo"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    with _reaching_others():
        if os.environ.pop(LAUNCHED, None):  # not for processes that this one starts
            threading.Thread(target=_follow_launcher, daemon=True).start()
            place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            store = dist.TCPStore(*place, is_master=False)  # type: ignore[attr-defined]
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend, timeout=TIMEOUT)
    return Workers(rank, size, int(os.environ["LOCAL_RANK"]))


def _follow_launcher() -> None:
    """Wait for the end of standard input, which the launcher holds open as long as it lives; then send SIGTERM."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def _reaching_others() -> Iterator[None]:
    """What goes wrong between processes, in words."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WorkerError(
            f"another process of this run is gone or cannot be reached: {reason}",
            "go on from the last checkpoint with --resume, with as many processes as there are",
        ) from error
