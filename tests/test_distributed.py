"""Distributed training: several processes compute what one would, stop together, and resume in other numbers."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch
from worker_steps import CASES

from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.errors import OptionError
from ganforge.core.distributed import ALONE, Workers
from ganforge.data.store import PackedData
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.execution.engine import Engine, ExecutionPlan
from ganforge.training.loading.sampler import Batches
from ganforge.training.signals import ECHO, StopRequest
from ganforge.training.start import split_batches
from ganforge.training.state import build_state
from ganforge.training.steps import read_batch

CPU = torch.device("cpu")
DRIVER = Path(__file__).parent / "worker_steps.py"
PARTS = 4


def free_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def take_steps(folder, dtype, size):
    """Run the driver in so many processes; what has become of the players, by case."""
    folder.mkdir()
    command = [sys.executable, str(DRIVER), str(folder), dtype, str(PARTS)]
    port = str(free_port())
    workers = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            command,
            env={**os.environ, **(workers | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if size > 1 else {})},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    return {name: safetensors.torch.load_file(folder / f"{name}.safetensors") for name in CASES}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return tmp_path_factory.mktemp("teams")


@pytest.fixture(scope="module")
def alone(places):
    """One process that computes each batch in parts, or as a whole where nothing depends on parts."""
    return take_steps(places / "1", "float64", 1)


@pytest.fixture(scope="module", params=[2, pytest.param(4, marks=pytest.mark.exhaustive)])
def together(places, request):
    return take_steps(places / str(request.param), "float64", request.param)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_processes_together_compute_what_one_computes(alone, together, name):
    ours, theirs = alone[name], together[name]
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if value.is_floating_point():
            torch.testing.assert_close(theirs[key], value, rtol=1e-12, atol=1e-12, msg=key)
        else:
            assert torch.equal(theirs[key], value), key


@pytest.mark.slow
def test_processes_that_have_come_apart_are_told(together, places):
    told = [path.read_text() for path in places.glob("*/apart-*.txt")]
    assert len(told) in (2, 4, 6)  # of two processes, of four, or of both runs
    assert all(text.startswith("processes diverged: numbers of 1") for text in told)


@pytest.mark.exhaustive
def test_in_single_precision_they_agree_to_its_rounding(places):
    one, two = (take_steps(places / f"float32-{size}", "float32", size) for size in (1, 2))
    # Adam divides by the root of what is next to nothing, so gradients and losses are compared, in the first step.
    for name in CASES:
        rows = {key: value for key, value in one[name].items() if key.startswith("row 0")}
        assert rows
        for key, value in rows.items():
            torch.testing.assert_close(two[name][key], value, rtol=1e-5, atol=1e-6, msg=f"{name}: {key}")


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(7)
    return PackedData("test", torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8), None, (), "abc")


@pytest.mark.parametrize("size", [1, 2, 4])
def test_any_number_of_processes_sees_the_same_batches_and_latents_in_order(data, size):
    config = resolve(Registry.installed(), *load_layers(None, None, [], ["generator.width=4", "training.batch=8"]))
    state = build_state(config, Registry.installed(), data.spec, CPU)
    for start in (0, 8, 48):  # the last one lies in two epochs
        torch.manual_seed(start)
        whole = read_batch(state, Batches(data, 3, CPU), Engine(ExecutionPlan(), CPU), start, 8)
        shares = []
        for rank in range(size):
            torch.manual_seed(start)
            engine = Engine(ExecutionPlan(accumulate=size), CPU, workers=Workers(rank, size))
            shares.append(read_batch(state, Batches(data, 3, CPU), engine, start, 8))
        for field in ("real", "latents"):
            assert torch.equal(torch.cat([getattr(each, field) for each in shares]), getattr(whole, field))


def test_a_batch_falls_into_parts_that_can_be_shared_out():
    registry = Registry.installed()

    def parts(batch, accumulate, size):
        config = resolve(registry, {"training": {"batch": batch, "accumulate": accumulate}})
        return split_batches(config, Workers(0, size)).training.accumulate

    assert [parts(64, 1, 1), parts(64, 1, 4), parts(64, 8, 4), parts(24, 2, 3)] == [1, 4, 8, 6]
    with pytest.raises(OptionError, match=r"--batch 64 is not divisible into 3 equal microbatches .* --batch 63"):
        parts(64, 1, 3)


def test_a_process_alone_is_a_team_that_costs_nothing():
    tensor = torch.randn(3)
    before = tensor.clone()
    ALONE.all_reduce([tensor])
    ALONE.all_reduce_gradients([], tensor)
    ALONE.check_equal("ff", "anything")
    ALONE.close()
    assert torch.equal(tensor, before)
    assert ALONE.gather(tensor) is tensor
    assert ALONE.vote(15) == 15
    assert ALONE.broadcast_bytes(b"content") == b"content"


def test_a_signal_that_a_launcher_sends_on_is_no_second_request(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    ended = []
    before = signal.signal(signal.SIGTERM, lambda *_: ended.append("at once"))
    try:
        with StopRequest(echoes=True) as request:
            for seconds, expected in ((0, []), (ECHO / 2, []), (ECHO, ["at once"])):
                clock[0] += seconds
                signal.raise_signal(signal.SIGTERM)
                assert request.signal == signal.SIGTERM
                assert ended == expected
        with StopRequest() as request:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert ended == ["at once", "at once"]
    finally:
        signal.signal(signal.SIGTERM, before)


# Whole runs.

SMALL = [
    "--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "training.samples=4", "--batch", "8",
    "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous",
    "--set", "training.threads=1", "--set", "training.tick_images=40", "--reg", "r1:every=2",
]  # fmt: skip


def start(*arguments):
    command = [sys.executable, "-m", "ganforge", "train", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def complete(*arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return RunFolder(Path(out.strip())), err


def rows(folder):
    found = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    return [
        {name: row[name] for name in row if name not in ("seconds", "images_per_second", "picture")} for row in found
    ]


@pytest.mark.exhaustive
def test_a_run_of_two_goes_on_alone_as_if_one_had_computed_the_parts(here, image_folder):
    arguments = ["--data", image_folder, *SMALL, "--augment", "ada"]
    pair, err = complete(*arguments, "--images", 80, "--gpus", 2)
    assert "on cpu, 2 processes" in err
    assert err.count("80 images in ") == 1  # one of them speaks
    assert pair.read_config()["training"]["accumulate"] == 2
    pair, _ = complete("--resume", pair.path, "--images", 200)
    single, _ = complete(*arguments, "--images", 200, "--accumulate", 2)
    ours, theirs = (read_tensors(each.checkpoint_path(200))[0] for each in (single, pair))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5, msg=name)
    assert [row["images"] for row in rows(pair)] == [row["images"] for row in rows(single)]
    for one, other in zip(rows(single), rows(pair), strict=True):
        assert other.pop("warnings", None) == one.pop("warnings", None)
        assert other == pytest.approx(one, rel=1e-3, abs=1e-4)


def children_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and b"ganforge" in (path.parent / "cmdline").read_bytes():
            found.append(int(path.parent.name))
    return sorted(found)


def wait_for(condition, process, seconds=180):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.slow
def test_one_that_is_killed_ends_all_and_a_signal_stops_all_and_the_run_goes_on(here, image_folder):
    process = start("--data", image_folder, *SMALL, "--images", "1M", "--name", "pair", "--gpus", 2)
    folder = RunFolder(here / "runs" / "00000-pair")
    wait_for(folder.metrics.exists, process)
    children = children_of(process.pid)
    assert len(children) == 2
    os.kill(children[1], signal.SIGKILL)
    _, err = process.communicate(timeout=30)
    assert process.returncode not in (0, -signal.SIGKILL)
    assert "Traceback" not in err
    assert "--resume" in err
    assert not any(Path(f"/proc/{child}").exists() for child in children)

    process = start("--resume", folder.path, "--gpus", 2)
    lines = len(rows(folder))
    wait_for(lambda: len(rows(folder)) > lines, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "stopped by SIGTERM; resume with: ganforge train --resume" in err
    assert "Traceback" not in err
    seen = int(folder.checkpoint_paths()[-1].stem)
    assert seen > 0
    complete("--resume", folder.path, "--images", seen + 80)
    assert int(folder.checkpoint_paths()[-1].stem) == seen + 80


@pytest.mark.slow
def test_more_processes_than_a_batch_can_be_shared_out_among_is_one_line(here, image_folder):
    process = start("--data", image_folder, *SMALL, "--images", 16, "--gpus", 3)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "--batch 8 is not divisible into 3 equal microbatches for 3 processes" in err
    assert "Traceback" not in err
    assert not (here / "runs").exists()
