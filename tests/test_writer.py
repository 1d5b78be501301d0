import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from concurrent.futures import Future

import pytest
import torch
from test_training import CPU, SMALL, Silent, packed, rows_without_times

from ganforge import GanforgeError
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop
from ganforge.training.execution.engine import EAGER
from ganforge.training.loading.sampler import Batches
from ganforge.training.recording import recovery
from ganforge.training.recording.background_writer import WAITING, Writer
from ganforge.training.start import open_recorder
from ganforge.training.state import build_state

REGISTRY = Registry.installed()


@pytest.fixture
def gate():
    """Something for a job to wait for; open in the end, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def fail():
    raise GanforgeError("cannot write x: No space left on device", "check space")


def hand_over(writer, jobs, error):
    """Hand jobs over in a block that an error ends."""
    with writer:
        for function, *arguments in jobs:
            writer.submit(function, *arguments)
        raise error


def is_held_up(function):
    """True if a call still waits after a while, and the thread that is in it."""
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(0.3)
    return thread.is_alive(), thread


# The writer.


def test_jobs_are_done_in_order():
    done = []
    with Writer() as writer:
        for number in range(50):
            writer.submit(done.append, number)
    assert done == list(range(50))


def test_whoever_hands_over_too_much_waits(gate):
    done = []
    writer = Writer()
    writer.submit(gate.wait)
    for number in range(WAITING):
        writer.submit(done.append, number)
    held_up, thread = is_held_up(lambda: writer.submit(done.append, "last"))
    assert held_up
    assert done == []
    gate.set()
    thread.join()
    writer.finish()
    assert done == [*range(WAITING), "last"]


def test_an_error_is_raised_where_jobs_are_handed_over_and_stops_the_jobs_behind(gate):
    done = []
    writer = Writer()
    writer.submit(done.append, "before")
    writer.submit(gate.wait)
    failed = writer.submit(fail)
    behind = writer.submit(done.append, "behind")
    gate.set()
    for call in (
        failed.result,
        behind.result,
        writer.finish,
        writer.finish,
        lambda: writer.submit(done.append, "next"),
    ):
        with pytest.raises(GanforgeError, match="^cannot write x: No space left on device") as caught:
            call()
        assert caught.value is failed.exception()
    assert done == ["before"]


def test_the_block_waits_for_all_whatever_ends_it():
    done = []

    def slowly(text):
        time.sleep(0.2)
        done.append(text)

    with pytest.raises(ZeroDivisionError):
        hand_over(Writer(), [(slowly, "a"), (slowly, "b")], ZeroDivisionError())
    assert done == ["a", "b"]


def test_an_error_is_not_lost_behind_another_that_ends_the_block():
    with pytest.raises(GanforgeError, match="cannot write x") as caught:
        hand_over(Writer(), [(fail,)], ZeroDivisionError("the other"))
    assert "the other" in "".join(traceback.format_exception(caught.value))


def test_a_writer_that_has_finished_leaves_no_thread_and_can_go_on():
    before, done = set(threading.enumerate()), []
    writer = Writer()
    for number in range(3):
        writer.submit(done.append, number)
        writer.finish()
        assert set(threading.enumerate()) == before
    assert done == [0, 1, 2]


def test_a_keyboard_interrupt_does_not_wait_for_long_and_drops_what_was_not_begun(gate):
    done = []
    writer = Writer()
    with pytest.raises(KeyboardInterrupt):
        hand_over(writer, [(gate.wait,), (done.append, "dropped")], KeyboardInterrupt())
    assert not gate.is_set()
    gate.set()
    with pytest.raises(KeyboardInterrupt):
        writer.finish()
    assert done == []


@pytest.mark.parametrize(
    "body", ["[time.sleep(0.1) for _ in range(1000)]", "pass"], ids=["in the block", "while waiting"]
)
def test_an_interrupted_process_ends_though_a_file_cannot_be_written_for_ever(body):
    code = (
        "import os, signal, time\nfrom ganforge.training.recording.background_writer import Writer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # the parent process may ignore it
        "def hang():\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(100)\n"
        f"with Writer() as writer:\n    writer.submit(hang)\n    {body}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGINT, done.stderr


# Runs.


class AtOnce(Writer):
    """Does each job when it is handed over."""

    def submit(self, function, *arguments):
        function(*arguments)
        future = Future()
        future.set_result(None)
        return future


class Watcher(Silent):
    """Calls a function after the tick at a number of images."""

    def __init__(self, images, function):
        super().__init__()
        self.images, self.function = images, function

    def tick(self, row):
        super().tick(row)
        if row["images"] == self.images:
            self.function()


@pytest.fixture(scope="module")
def images():
    torch.manual_seed(7)
    return packed(torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8))


@pytest.fixture(scope="module")
def whole(images, tmp_path_factory):
    """The folder of an unbroken run."""
    folder = RunFolder.create(tmp_path_factory.mktemp("runs"), "whole")
    go(images, *open_run(images, folder))
    return folder


@pytest.fixture
def frequent(monkeypatch):
    """Checkpoints at every tick, and a clock that goes a second at each glance."""
    seconds = [0.0]

    class Clock:
        @staticmethod
        def perf_counter():
            seconds[0] += 1.0
            return seconds[0]

    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop, "time", Clock)
    return seconds


def open_run(images, folder):
    config = resolve(REGISTRY, *load_layers(None, None, [], [*SMALL, "training.images=60", "training.samples=4"]))
    state = build_state(config, REGISTRY, images.spec, CPU)
    return config, state, open_recorder(config, REGISTRY, images, folder, state)


def go(images, config, state, record, watcher=None):
    return loop.train(state, Batches(images, 0, CPU), record, config, watcher or Silent(), EAGER)


def files(folder):
    """The bytes of all files by name; of rows what does not name the folder."""
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    rows = [row | {"picture": os.path.basename(row["picture"])} for row in rows]
    paths = [path for path in folder.path.rglob("*") if path.is_file() and path != folder.metrics]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths} | {"rows": rows}


def test_a_run_writes_what_it_would_write_if_it_waited(images, frequent, tmp_path):
    written = []
    for name in ("beside", "waiting"):
        folder = RunFolder.create(tmp_path, name)
        config, state, record = open_run(images, folder)
        if name == "waiting":
            record.writer = AtOnce()
        frequent[0] = 0.0
        go(images, config, state, record)
        written.append(files(folder))
    assert written[0].keys() == written[1].keys()
    assert [name for name in written[0] if written[0][name] != written[1][name]] == []
    assert [row["images"] for row in written[0]["rows"]] == [20, 40, 60]
    assert sum(name.startswith("checkpoints") for name in written[0]) == 2


def test_what_changes_after_saving_is_not_written(images, tmp_path, gate):
    folder = RunFolder.create(tmp_path, "x")
    _, state, record = open_run(images, folder)
    before = {name: tensor.clone() for name, tensor in state.tensors().items()}
    record.writer.submit(gate.wait)
    record.save()
    with torch.no_grad():
        for tensor in state.tensors().values():
            tensor.zero_()
    assert not folder.generator.exists()
    gate.set()
    record.writer.finish()
    tensors, _ = read_tensors(folder.checkpoint_path(0))
    assert tensors.keys() == before.keys()
    assert all(torch.equal(tensors[name], before[name]) for name in before)
    generator, card = load_generator(folder.generator)
    assert card["images"] == 0
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, tensors[f"average/{name}"])


def test_there_is_one_copy_of_the_state_at_a_time(images, tmp_path, gate):
    folder = RunFolder.create(tmp_path, "x")
    _, state, record = open_run(images, folder)
    record.writer.submit(gate.wait)
    record.save()
    state.images = 5
    held_up, thread = is_held_up(record.save)
    assert held_up
    gate.set()
    thread.join()
    record.writer.finish()
    assert [read_tensors(path)[1]["images"] for path in folder.checkpoint_paths()] == [0, 5]


def test_a_run_stopped_or_broken_off_behind_a_slow_disk_has_written_all(images, tmp_path):
    def stop():
        signal.raise_signal(signal.SIGINT)

    def break_off():
        raise ZeroDivisionError

    for ending in (stop, break_off):
        folder = RunFolder.create(tmp_path, ending.__name__)
        config, state, record = open_run(images, folder)
        parts = (images, config, state, record)
        record.writer.submit(time.sleep, 0.5)
        if ending is stop:
            assert go(*parts, Watcher(40, ending)).stopped == signal.SIGINT
            assert read_tensors(folder.checkpoint_path(40))[1]["images"] == 40
            assert load_generator(folder.generator)[1]["images"] == 40
            assert folder.animation.exists()
        else:
            with pytest.raises(ZeroDivisionError):
                go(*parts, Watcher(40, ending))
        assert [row["images"] for row in rows_without_times(folder)] == [20, 40]
        grids = [folder.sample_path(count) for count in (0, 20, 40)]
        assert sorted(folder.samples.iterdir()) == [*grids, folder.reals]


@pytest.mark.parametrize(
    ("name", "newest"), [("metrics.jsonl", 40), ("checkpoints", 20), ("generator.safetensors", 20)]
)
def test_a_folder_that_cannot_be_written_ends_the_run_in_one_line_and_it_goes_on_later(
    name, newest, images, whole, frequent, tmp_path
):
    folder = RunFolder.create(tmp_path, "x")
    config, state, record = open_run(images, folder)
    place, away = folder.path / name, tmp_path / "away"

    def obstruct():
        record.writer.finish()
        place.rename(away)
        if away.is_dir():
            place.touch()
        else:
            place.mkdir()

    with pytest.raises(GanforgeError, match=f"^cannot write {folder.path}/{name}[^\n]*$"):
        go(images, config, state, record, Watcher(40, obstruct))
    if away.is_dir():
        place.unlink()
    else:
        shutil.rmtree(place)
    away.rename(place)
    assert read_tensors(folder.checkpoint_paths()[-1])[1]["images"] == newest
    assert not list(folder.path.rglob(".*"))

    config, state, record = open_run(images, folder)
    assert f"resuming from {folder.checkpoint_path(newest)}" in recovery.resume(record, CPU)
    assert go(images, config, state, record).images == 60
    assert folder.generator.read_bytes() == whole.generator.read_bytes()
    assert rows_without_times(folder) == rows_without_times(whole)


def test_a_run_that_diverges_names_a_checkpoint_that_was_still_to_be_written(images, tmp_path):
    folder = RunFolder.create(tmp_path, "x")
    _, state, record = open_run(images, folder)
    record.writer.submit(time.sleep, 0.3)
    record.save()
    state.images = 5
    assert str(folder.checkpoint_path(0)) in recovery.divergence_error(record).hint
