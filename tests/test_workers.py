"""Workers reduce gradients without waiting for a device, and a worker notices what becomes of the others."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from test_distributed import free_port
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ganforge.contract.errors import CheckpointError
from ganforge.core.distributed import ALONE, MainError, Workers


class Recorded(TorchDispatchMode):
    """Records the names of operations."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.__name__.split(".")[0])
        return function(*args, **(kwargs or {}))


def parameters(gradients):
    made = [nn.Parameter(torch.zeros(2)) for _ in gradients]
    for each, gradient in zip(made, gradients, strict=True):
        each.grad = None if gradient is None else torch.full((2,), gradient)
    return made


def reduce(monkeypatch, *all_gradients):
    """Reduce gradients of several workers; return what each has then, None where it has none."""
    sent = []
    monkeypatch.setattr(dist, "all_reduce", lambda flat, **_: sent.append(flat.clone()))
    for gradients in all_gradients:
        Workers(0, len(all_gradients)).all_reduce_gradients(parameters(gradients), torch.ones(1))
    monkeypatch.setattr(dist, "all_reduce", lambda flat, **_: flat.copy_(torch.stack(sent).sum(0)))
    found = []
    for gradients in all_gradients:
        own, values = parameters(gradients), torch.ones(1)
        Workers(0, len(all_gradients)).all_reduce_gradients(own, values)
        assert values == len(all_gradients)
        found.append([None if each.grad is None else each.grad.tolist() for each in own])
    return found


def test_gradients_are_summed_and_one_that_all_lack_stays_none(monkeypatch):
    expected = [[3, 3], None, [5, 5], [7, 7]]
    assert reduce(monkeypatch, [1.0, None, 5.0, None], [2.0, None, None, 7.0]) == [expected] * 2


def test_reducing_gradients_neither_waits_for_the_device_nor_copies_to_it(monkeypatch):
    monkeypatch.setattr(dist, "all_reduce", lambda flat, **_: None)
    own, values = parameters([1.0, 2.0]), torch.ones(3)
    with Recorded() as recorded:
        Workers(0, 2).all_reduce_gradients(own, values)
    # The first reads a value; the others make a tensor of Python numbers on the host, and copy it to the device.
    assert recorded.names.isdisjoint({"_local_scalar_dense", "lift_fresh", "_to_copy"})
    assert "cat" in recorded.names


class Scripted(Workers):
    """One of two workers, connected to the other by a list."""

    def __init__(self, rank, line):
        super().__init__(rank, 2)
        self._line = line

    def broadcast_bytes(self, content):
        if self.is_main:
            self._line.append(content)
            return content
        return self._line.pop(0)


def test_what_the_main_process_reads_or_why_it_cannot_is_known_to_all():
    line = []
    main, other = (Scripted(rank, line) for rank in range(2))
    assert ALONE.on_main(lambda: b"read") == main.on_main(lambda: b"read") == other.on_main(pytest.fail) == b"read"
    assert main.on_main(lambda: None) == other.on_main(pytest.fail) == b""

    def fail():
        raise CheckpointError("damaged")

    with pytest.raises(CheckpointError, match="damaged"):
        main.on_main(fail)
    with pytest.raises(MainError) as error:
        other.on_main(pytest.fail)
    assert (error.value.message, error.value.code, line) == ("", CheckpointError.code, [])


FALLS_SILENT = """
import os, signal, time
from datetime import timedelta
from ganforge.core import distributed

distributed.TIMEOUT = timedelta(seconds=5)
print("imported", flush=True)
input()
workers = distributed.join_workers(None)
with workers.main_first():
    time.sleep(0 if workers.rank else 8)  # a long preparation is none of its business
if workers.rank:
    os.kill(os.getpid(), signal.SIGSTOP)  # as a machine without power: its connections stay open
try:
    workers.barrier()
except distributed.WorkerError as error:
    print(error, flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_a_machine_that_falls_silent_is_noticed_after_the_timeout_of_a_step_but_not_while_data_are_prepared():
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", FALLS_SILENT],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    )
    try:
        assert [each.stdout.readline() for each in (first, second)] == ["imported\n"] * 2
        second.stdin.write("\n")
        second.stdin.flush()
        out, err = first.communicate("\n", timeout=60)
        assert out.startswith("another process of this run ended or is unreachable: "), err
        assert "--resume" in out
        assert second.poll() is None
    finally:
        second.kill()
        second.communicate()
