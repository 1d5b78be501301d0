"""Two machines, each an agent of torchrun on the loopback: they compute what one would, end together, and resume."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from test_distributed import CASES, DRIVER, PARTS, SMALL, complete, free_port, rows, take_steps, wait_for

from ganforge.runs.checkpoint import read_tensors
from ganforge.runs.folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"),
]

SECONDS = 60
"""The promise of docs/guide/many-gpus.md: all processes have ended so long after one machine was lost."""


class Machine:
    """A folder with a cache of its own, an agent of two processes, and what all of them say."""

    def __init__(self, home, port, *arguments):
        home.mkdir(exist_ok=True)
        self.home, self.said = home, home / "said.txt"
        rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1"]
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "2", *rendezvous]
        with self.said.open("w") as said:
            self.agent = subprocess.Popen(
                [*command, *map(str, arguments)],
                cwd=home,
                env={**os.environ, "GANFORGE_CACHE": str(home / "cache")},
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    @property
    def folder(self):
        return RunFolder(self.home / "runs" / "00000-two")

    def workers(self):
        """Process ids by global rank."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == self.agent.pid:
                    rank = (path / "environ").read_text().partition("\0RANK=")[2].partition("\0")[0]
                    found[int(rank)] = int(path.name)
            except (OSError, ValueError):
                continue
        return found

    def errors(self):
        """Lines of our processes that report an error."""
        return [line for line in self.said.read_text().splitlines() if re.match(r"(process \d+: )?error: ", line)]


@contextmanager
def machines(home, *arguments):
    """Two of them, the one with rank 0 first once they train; nothing of them is left behind."""
    port = free_port()
    both = [Machine(home / name, port, *arguments) for name in ("one", "two")]
    try:
        yield both
    finally:
        for pid in [pid for each in both for pid in each.workers().values()]:
            os.kill(pid, signal.SIGKILL)
        for each in both:
            each.agent.kill()
            each.agent.wait()


def end(machine, seconds=SECONDS):
    """The exit code of its agent."""
    code = machine.agent.wait(seconds)
    assert not machine.workers()
    return code


def started(both):
    """Wait until they train, and return them, the one with rank 0 first."""

    def trains():
        return any(len(each.folder.checkpoint_paths()) > 1 for each in both)

    wait_for(trains, both[0].agent)
    return sorted(both, key=lambda each: min(each.workers()))


@pytest.mark.exhaustive
def test_two_machines_compute_what_four_processes_of_one_compute(tmp_path):
    (tmp_path / "machines").mkdir()
    with machines(tmp_path, DRIVER, tmp_path / "machines", "float64", PARTS) as both:
        assert [end(each, 300) for each in both] == [0, 0], [each.said.read_text() for each in both]
    ours = take_steps(tmp_path / "four", "float64", 4)
    for name in CASES:
        theirs = safetensors.torch.load_file(tmp_path / "machines" / f"{name}.safetensors")
        assert ours[name].keys() == theirs.keys()
        assert any(key.startswith("seen") for key in theirs)
        for key, value in ours[name].items():
            if key.startswith("seen") or not value.is_floating_point():
                assert torch.equal(theirs[key], value), f"{name}: {key}"
            else:
                torch.testing.assert_close(theirs[key], value, rtol=1e-12, atol=1e-12, msg=f"{name}: {key}")


def train(image_folder, *arguments):
    return ["-m", "ganforge", "train", "--data", image_folder, *SMALL, "--name", "two", *arguments]


ENDLESS = ["--images", "1M", "--set", "training.checkpoint_images=40"]


@pytest.mark.exhaustive
def test_runs_need_no_folder_in_common(here, image_folder):
    scored = ["--eval-every", 40, "--metrics", "fd", "--set", "training.eval_samples=64"]
    with machines(here, *train(image_folder, "--images", 80, *scored)) as both:
        assert [end(each, 300) for each in both] == [0, 0], [each.said.read_text() for each in both]
    main, other = both  # torch gives rank 0 to the first by host and process id
    assert "on cpu, 4 processes" in main.said.read_text()
    assert main.errors() == other.errors() == []
    assert not other.folder.path.parent.exists()
    classifiers = [next((each.home / "cache" / "classifiers").iterdir()).read_bytes() for each in both]
    assert classifiers[0] == classifiers[1]
    with machines(here, *["-m", "ganforge", "train", "--resume", "--images", 120]) as both:
        assert [end(each, 300) for each in both] == [0, 0], [each.said.read_text() for each in both]
    ticks = ["D(x)" in row for row in rows(main.folder)]
    assert [row["images"] for row in rows(main.folder)] == [40, 40, 80, 80, 120, 120]
    assert ticks.count(True) == ticks.count(False) == 3  # a tick and a score each


@pytest.mark.exhaustive
def test_what_the_main_process_lacks_or_another_has_otherwise_is_one_line(here, image_folder):
    with machines(here, *["-m", "ganforge", "train", "--resume"]) as both:
        assert [end(each) for each in both] == [1, 1]
    assert both[0].errors() == [
        "error: no run found under runs/ - train one first: ganforge train; or name a shipped one: avatars"
    ]
    assert both[1].errors() == []
    for name, photos in (("one", image_folder), ("two", image_folder / "cat")):
        (here / name / "photos").symlink_to(photos)
    with machines(here, *train("photos", "--images", 80)) as both:
        assert [end(each) for each in both] == [1, 1]
    assert len(both[0].errors()) == 2
    for line in both[0].errors() + both[1].errors():
        assert "data of 2, 3 differ from those of process 0 - each machine must have the same data" in line
    assert not (here / "one" / "runs").exists()


@pytest.mark.exhaustive
def test_a_lost_machine_ends_the_other_and_one_goes_on_as_if_nothing_had_happened(here, image_folder):
    with machines(here, *train(image_folder, *ENDLESS)) as both:
        main, left = started(both)  # the lost one has rank 0, the run directory and the rendezvous
        for pid in main.workers().values():
            os.kill(pid, signal.SIGKILL)
        main.agent.kill()
        assert end(left) not in (0, None)
        assert 1 <= len(left.errors()) <= 2, left.said.read_text()
        assert all("another process of this run ended" in line and "--resume" in line for line in left.errors())
        assert not any("ganforge" in line for line in left.said.read_text().splitlines() if 'File "' in line)
    folder = main.folder
    seen = int(folder.checkpoint_paths()[-1].stem)
    assert seen >= 40
    finished, _ = complete("--resume", folder.path, "--images", seen + 80, "--gpus", 2)
    whole, _ = complete("--data", image_folder, *SMALL, "--images", seen + 80, "--accumulate", 4)
    assert [row["images"] for row in rows(finished)] == [row["images"] for row in rows(whole)]
    for one, other in zip(rows(whole), rows(finished), strict=True):
        assert other.pop("warnings", None) == one.pop("warnings", None)
        assert other == pytest.approx(one, rel=1e-3, abs=1e-4)
    ours, theirs = (np.array(Image.open(each.sample_path(seen + 80))).astype(int) for each in (whole, finished))
    assert np.abs(ours - theirs).max() <= 1
    ours, theirs = (read_tensors(each.checkpoint_path(seen + 80))[0] for each in (whole, finished))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_a_lost_agent_ends_all_after_a_checkpoint(here, image_folder):
    with machines(here, *train(image_folder, *ENDLESS)) as both:
        main, other = started(both)
        left_behind = other.workers().values()
        other.agent.kill()
        other.agent.wait()
        assert end(main) not in (0, None)
        deadline = time.monotonic() + SECONDS
        while any(Path(f"/proc/{pid}").exists() for pid in left_behind):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "stopped by SIGTERM; resume with: ganforge train --resume" in main.said.read_text()
        assert main.errors() == other.errors() == []
