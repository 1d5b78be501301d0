"""Signals end a run within a step without loss, in any process and without a terminal."""

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import ganforge
from ganforge.runs.folder import RunFolder
from ganforge.session import launcher
from ganforge.training import loop
from ganforge.training.signals import StopRequest

SMALL = [
    "--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "training.samples=4", "--batch", "8",
    "--device", "cpu", "--engine", "eager", "--precision", "float32", "--set", "training.layout=contiguous",
    "--set", "training.threads=1", "--set", "training.tick_images=40", "--images", "1M", "--name", "x",
]  # fmt: skip
COMMAND = [sys.executable, "-m", "ganforge", "train", *SMALL]


def default_signals():
    """Restore signals that the parent process ignores, since a child inherits that."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def start(*arguments, **options):
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=default_signals, **options)


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def newest(here):
    return int(RunFolder(here / "runs/00000-x").checkpoint_paths()[-1].stem)


@pytest.fixture
def metrics(here):
    return here / "runs/00000-x/metrics.jsonl"


@pytest.mark.slow
def test_a_run_whose_terminal_is_closed_saves_and_leaves_with_129(here, image_folder, metrics):
    child, terminal = pty.fork()
    if not child:
        default_signals()
        os.execv(COMMAND[0], [*COMMAND, "--data", str(image_folder)])
    os.set_blocking(terminal, False)

    def trains():
        with suppress(BlockingIOError):
            os.read(terminal, 1 << 20)  # a terminal without a reader blocks the run
        return metrics.exists()

    wait_for(trains)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert newest(here) >= 40


@pytest.mark.slow
def test_sigquit_saves_and_says_so_at_once_and_ignored_signals_stay_ignored(here, image_folder, metrics):
    def ignore():
        default_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does

    process = subprocess.Popen([*COMMAND, "--data", image_folder], stderr=subprocess.PIPE, text=True, preexec_fn=ignore)
    wait_for(metrics.exists)
    process.send_signal(signal.SIGHUP)
    before = metrics.stat().st_size
    wait_for(lambda: metrics.stat().st_size > before)
    process.send_signal(signal.SIGQUIT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGQUIT, err
    assert "SIGQUIT: saving after this step; again to end at once" in err
    assert "SIGHUP" not in err
    assert newest(here) >= 40


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGQUIT])
def test_the_first_signal_waits_for_the_step_and_the_second_goes_to_the_handler_before(number):
    ended, said = [], []
    before = signal.signal(number, lambda *_: ended.append(number))
    try:
        with StopRequest(said.append) as request:
            signal.raise_signal(number)
            assert (request.signal, ended) == (number, [])
            signal.raise_signal(number)
        assert ended == [number]
    finally:
        signal.signal(number, before)
    assert said == [f"{number.name}: saving after this step; again to end at once"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_before_the_first_step_ends_the_command_in_one_line(run, here, image_folder, monkeypatch, number):
    before = signal.signal(number, lambda *_: None)
    monkeypatch.setattr("ganforge.session.trainer.open_configured", lambda *_, **__: signal.raise_signal(number))
    try:
        code, _, err = run("train", "--data", image_folder, *SMALL)
    finally:
        signal.signal(number, before)
    assert code == 128 + number
    assert err.splitlines() == [f"stopped by {number.name}"]
    assert not (here / "runs").exists()


def alive(pid):
    """True if a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def workers_of(pid):
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")


@needs_proc
@pytest.mark.slow
def test_a_stopped_worker_is_reported_and_a_signal_to_the_launcher_lets_all_save(here, image_folder, metrics):
    with subprocess.Popen(
        [*COMMAND, "--data", image_folder, "--gpus", "2"],
        stderr=subprocess.PIPE, text=True, preexec_fn=default_signals,
    ) as process:  # fmt: skip
        wait_for(metrics.exists)
        worker = workers_of(process.pid)[1]
        os.kill(worker, signal.SIGSTOP)
        told = next(line for line in process.stderr if "stopped" in line)
        assert told == (
            f"warning: process 1 of 2 was stopped by SIGSTOP; the others wait - continue it with: kill -CONT {worker}\n"
        )
        process.send_signal(signal.SIGHUP)
        rest = process.stderr.read()
        assert process.wait(60) == 128 + signal.SIGHUP, rest
    assert "stopped by SIGHUP; resume with" in rest
    assert "Traceback" not in rest
    assert newest(here) >= 40


@needs_proc
@pytest.mark.slow
def test_workers_save_and_end_when_their_launcher_is_killed(here, image_folder, metrics):
    process = start("--data", image_folder, "--gpus", 2)
    wait_for(metrics.exists)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.communicate(timeout=60)
    wait_for(lambda: not any(map(alive, workers)), 30)
    assert newest(here) >= 40


@pytest.mark.parametrize(
    ("script", "failed"),
    [
        ("import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(7)\ntime.sleep(600)", (1, 7)),
        ("import os, sys, time\nif os.environ['RANK'] == '0': os.kill(os.getpid(), 9)\ntime.sleep(600)", (0, -9)),
    ],
)
def test_workers_that_do_not_end_after_one_failed_are_ended(monkeypatch, script, failed):
    monkeypatch.setattr(launcher, "GRACE", 0.2)
    workers = launcher.WorkerProcesses(2)
    workers.start([sys.executable, "-S", "-c", script], [{"RANK": "0"}, {"RANK": "1"}])
    workers.wait([])
    assert workers.failed == failed


def test_workers_that_hang_after_a_second_signal_are_killed(monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", 0.2)
    script = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(600)"
    workers = launcher.WorkerProcesses(1)
    workers.start([sys.executable, "-S", "-c", script], [{}])
    time.sleep(0.3)
    workers.wait([signal.SIGTERM, signal.SIGTERM])
    assert workers.failed is None or workers.failed[1] == -signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_gets_its_run_after_ctrl_c_and_other_signals_once_the_run_is_saved(
    here, image_folder, monkeypatch, capsys, number
):
    def read_batch(*arguments):
        if not came:
            came.append(number)
            signal.raise_signal(number)
        return original(*arguments)

    original, came, saved = loop.read_batch, [], []
    monkeypatch.setattr(loop, "read_batch", read_batch)
    before = signal.signal(number, lambda *_: saved.append(newest(here)))
    try:
        run = ganforge.train(
            data=image_folder, images=800, batch=8, device="cpu", name="x", out=here / "runs",
            settings={"generator.width": 4, "discriminator.width": 4},
        )  # fmt: skip
    finally:
        signal.signal(number, before)
    assert saved == [8] * (number != signal.SIGINT)
    assert f"stopped by {number.name}; resume with: ganforge.open_run({str(run.path)!r}).resume()" in (
        capsys.readouterr().err
    )
