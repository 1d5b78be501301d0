"""A run directory is untrusted data: nothing in it leads out of it, blocks, is executed, or is printed raw."""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

import ganforge
from ganforge import CheckpointError, OptionError
from ganforge.builtin.tensorboard import TensorBoard
from ganforge.cli import main
from ganforge.core import console
from ganforge.core.text import escape_controls, escape_html
from ganforge.data.decode import read_picture
from ganforge.evaluation.metrics import memorization
from ganforge.evaluation.results import result
from ganforge.report import FILE as REPORT
from ganforge.runs.checkpoint import read_card
from ganforge.runs.folder import RunFolder
from ganforge.training.recording.sample_grids import write_animation

SMALL = [
    "--arch", "dcgan", "--batch", "8", "--device", "cpu", "--engine", "eager", "--precision", "float32",
    "--set", "training.layout=contiguous", "--set", "training.tick_images=8", "--set", "training.samples=4",
    "--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "training.threads=1",
]  # fmt: skip

PLUGIN = """
import os
from ganforge import Regularizer, hookimpl

class Mover(Regularizer):
    '''Moves the run away.'''

    def generator(self, step):
        if step.images_seen == 24 and "MOVE" in os.environ:
            os.rename(os.environ["MOVE"], os.environ["MOVE"] + "-moved")

@hookimpl
def ganforge_regularizers():
    return {"mover": Mover}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with photos, a plugin, and a run of 16 images."""
    root = tmp_path_factory.mktemp("place")
    source = np.random.default_rng(0)
    (root / "photos").mkdir()
    for index in range(16):
        Image.fromarray(source.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / "photos" / f"{index}.png")
    (root / "mover.py").write_text(PLUGIN)
    arguments = ["--data", root / "photos", "--reg", "mover", "--images", 16, "--name", "x", "--out", root / "runs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANFORGE_CACHE", str(root / "cache"))
        with pytest.raises(SystemExit) as stop:
            main([str(each) for each in ("train", "--plugin", root / "mover.py", *arguments, *SMALL)])
    assert not stop.value.code
    return root


@pytest.fixture
def folder(place, tmp_path):
    """A copy of that run."""
    shutil.copytree(place / "runs" / "00000-x", tmp_path / "mine")
    return RunFolder(tmp_path / "mine")


@pytest.fixture
def resume(place, folder, run):
    """Resume it."""

    def call(*more, images=32):
        return run("train", "--plugin", place / "mover.py", "--resume", folder.path, "--images", images, *more)

    return call


@pytest.fixture(autouse=True)
def alarm():
    """Fail instead of hanging."""

    def ring(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def listen(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


KINDS = {
    "a symbolic link": lambda path: path.symlink_to("nowhere"),
    "a named pipe": os.mkfifo,
    "a socket": listen,
}


def is_one_line(err):
    return err.count("\n") == 1 and err.startswith("error: ")


# Links, pipes and sockets.


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_neither_a_file_nor_a_folder_has_no_place_in_a_run(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    within = ["checkpoints/000000001.safetensors", "export/generator.pt", "explore/walk.gif", "translated/x.png"]
    for number, name in enumerate([*RunFolder.FILES, *RunFolder.FOLDERS, *within]):
        path = Path(str(number), name)
        path.parent.mkdir(parents=True)
        if name != "config.json":
            Path(str(number), "config.json").touch()
        KINDS[kind](path)
        with pytest.raises(CheckpointError, match=f"^{path}: {kind} is invalid in a run "):
            RunFolder.find(str(number), Path())


def test_every_file_that_a_run_gets_is_looked_at(folder):
    assert {result.FILE, memorization.PICTURE, REPORT} <= set(RunFolder.FILES)
    got = {each.name for each in folder.path.iterdir()}
    assert got <= {*RunFolder.FILES, *RunFolder.FOLDERS}


@pytest.mark.parametrize("name", ["log.txt", "environment.jsonl", "evaluations.jsonl", "metrics.jsonl"])
def test_no_command_writes_through_a_link_of_a_run(run, resume, folder, tmp_path, name):
    target = tmp_path / "authorized_keys"
    target.write_bytes(b"mine\nand torn")
    (folder.path / name).unlink(missing_ok=True)
    (folder.path / name).symlink_to(target)
    commands = [
        ("report",),
        ("sample",),
        ("export",),
        ("eval", "--kid"),
        ("explore", "truncation"),
        ("eval", "compare"),
    ]
    for code, _, err in (resume(), *(run(*each, folder.path) for each in commands)):
        assert code == 2
        assert is_one_line(err)
    assert target.read_bytes() == b"mine\nand torn"


@pytest.mark.parametrize("name", ["samples", "checkpoints", "export"])
def test_no_file_is_written_or_deleted_behind_a_link_of_a_run(resume, folder, tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/000000000.safetensors").touch()
    shutil.rmtree(folder.path / name, ignore_errors=True)
    (folder.path / name).symlink_to(tmp_path / "outside")
    assert resume()[0] == 2
    assert os.listdir(tmp_path / "outside") == ["000000000.safetensors"]


def test_a_run_may_lie_behind_a_link_and_hold_files_of_the_user(resume, folder, tmp_path):
    (folder.path / "notes").symlink_to("nowhere")
    (tmp_path / "disk").symlink_to(folder.path)
    folder.path = tmp_path / "disk"
    assert resume()[0] == 0


@pytest.mark.parametrize("name", ["x.zip", "x.npy"])
def test_data_in_a_pipe_are_refused_at_once(run, tmp_path, name):
    os.mkfifo(tmp_path / name)
    code, _, err = run("data", "check", tmp_path / name)
    assert code == 2
    assert "a named pipe" in err


@pytest.mark.parametrize("name", ["/outside", "../outside", "inside/../../outside"])
def test_the_folder_of_a_dashboard_lies_in_the_run(name):
    with pytest.raises(OptionError, match="is outside the run"):
        TensorBoard(folder=name)


def test_a_link_within_the_folder_of_a_dashboard_is_not_followed(tmp_path):
    (tmp_path / "run/own").mkdir(parents=True)
    (tmp_path / "run/own/deep").symlink_to(tmp_path)
    with pytest.raises(OptionError, match="is outside the run"):
        TensorBoard(folder="own/deep").start(tmp_path / "run", {}, 0)


def test_the_run_of_another_user_reads_only_data_that_the_user_names(resume, place, folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: folder.path.stat().st_uid + 1)
    code, _, err = resume()
    assert code == 2
    assert f"add --data {place}/photos" in err
    code, _, err = resume("--data", place)
    assert code == 2
    assert f"the run was trained on {place}/photos" in err
    assert resume("--data", place / "photos")[0] == 0


def test_the_run_of_another_user_names_no_unpaired_sources(resume, place, folder, monkeypatch):
    config = folder.read_config()
    folder.write_config(config | {"data": config["data"] | {"sources": str(place / "photos")}})
    monkeypatch.setattr(os, "geteuid", lambda: folder.path.stat().st_uid + 1)
    code, _, err = resume("--data", place / "photos")
    assert code == 2
    assert f"belongs to another user and reads {place}/photos" in err


# Pictures.


def test_pictures_are_opened_in_one_file():
    root = Path(ganforge.__file__).parent
    assert [str(each.relative_to(root)) for each in root.rglob("*.py") if "Image.open" in each.read_text()] == [
        "data/decode.py"
    ]


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"


def spoil(folder):
    """Put what is no picture, or not the run's, among its samples; the names of these."""
    names = ["000000001.png", "000000002.png", "000000003.png", "000000004.png", "000000008.png"]
    paths = [folder.samples / each for each in names]
    paths[0].write_bytes(EPS)
    paths[1].symlink_to(folder.sample_path(16))
    os.mkfifo(paths[2])
    paths[3].write_bytes(b"")
    paths[4].write_bytes(folder.sample_path(16).read_bytes()[:90])
    return names


def refuse_programs(monkeypatch):
    def start(*_):
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", start)


def test_a_report_leaves_out_and_names_what_is_no_picture(run, folder, monkeypatch):
    names = spoil(folder)
    shutil.copyfile(folder.samples / names[0], folder.path / memorization.PICTURE)
    refuse_programs(monkeypatch)
    code, _, err = run("report", folder.path)
    assert code == 0, err
    page = (folder.path / REPORT).read_text()
    assert all(f"{name}: " in page for name in [*names, memorization.PICTURE])


def test_no_picture_costs_a_run_its_last_checkpoint(resume, folder, monkeypatch):
    names = spoil(folder)
    refuse_programs(monkeypatch)
    folder.sample_path(24).mkdir()
    code, _, err = resume()
    assert code == 0, err
    assert all(f"training.gif lacks a frame: {folder.samples}/{name}: " in err for name in names)
    assert f"warning: picture not written: cannot write {folder.sample_path(24)}" in err
    assert folder.checkpoint_paths()[-1] == folder.checkpoint_path(32)
    with Image.open(folder.animation) as animation:
        assert animation.n_frames == 3
    assert all(name in folder.log.read_text() for name in names)


def test_no_animation_costs_a_run_its_last_checkpoint_and_a_resume_makes_it(resume, folder):
    whole = folder.animation.read_bytes()
    folder.animation.unlink()
    folder.animation.mkdir()
    (folder.animation / "mine").touch()
    with pytest.raises(CheckpointError, match="a folder is invalid in a run"):
        RunFolder(folder.path)
    shutil.rmtree(folder.animation)
    code, _, err = resume(images=16)
    assert code == 2
    assert "has spent its budget" in err
    assert folder.animation.read_bytes() == whole


def test_without_any_picture_there_is_no_animation(tmp_path):
    (tmp_path / "0.png").touch()
    assert len(write_animation(tmp_path / "x.gif", [tmp_path / "0.png"])) == 1
    assert not (tmp_path / "x.gif").exists()


def test_a_picture_that_is_a_link_is_not_followed(folder):
    path = folder.samples / "x.png"
    path.symlink_to(folder.sample_path(16))
    assert read_picture(folder.sample_path(16)).mode == "RGB"
    with pytest.raises(ganforge.DataError, match=r"x\.png: cannot be read: it is a symbolic link"):
        read_picture(path)


# One writer, in one place.


def test_a_run_is_trained_by_one_process_that_is_named(resume, folder):
    with folder.hold():
        code, _, err = resume()
        assert code == 2
        assert f"is being trained by process {os.getpid()} on {os.uname().nodename} - " in err.splitlines()[-1]
        assert len((folder.metrics).read_text().splitlines()) == 2
    assert resume()[0] == 0
    assert not (folder.path / "run.lock").exists()


def test_the_lock_of_a_killed_process_is_free(folder):
    code = (
        "import sys, time, pathlib, ganforge.runs.folder as runs\n"
        "with runs.RunFolder(pathlib.Path(sys.argv[1])).hold():\n    print('held', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, folder.path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OptionError, match=f"process {process.pid} on"), folder.hold():
            pass
        process.kill()
    with folder.hold():
        assert str(os.getpid()) in (folder.path / "run.lock").read_text()


def test_a_run_that_is_moved_away_ends_in_one_line_and_its_old_path_stays_empty(resume, folder, monkeypatch):
    monkeypatch.setenv("MOVE", str(folder.path))
    code, _, err = resume(images=200)
    assert code == 2
    assert f"error: {folder.path} was moved or deleted while it was trained - " in err.splitlines()[-1]
    assert not folder.path.exists()
    monkeypatch.delenv("MOVE")
    Path(f"{folder.path}-moved").rename(folder.path)
    assert resume()[0] == 0


def test_another_folder_in_the_place_of_a_run_is_not_written_into(folder):
    with folder.hold():
        folder.path.rename(f"{folder.path}-moved")
        folder.path.mkdir()
        (folder.path / "run.lock").touch()
        with pytest.raises(ganforge.GanforgeError, match="was moved or deleted"):
            folder.require_lock()
    assert (folder.path / "run.lock").exists()


# Lines that are lost or torn.


@pytest.mark.parametrize("left", [0, 1])
def test_rows_of_metrics_that_are_lost_are_told_once(resume, folder, left):
    lines = folder.metrics.read_text().splitlines(keepends=True)
    assert len(lines) == 2
    folder.metrics.write_text("".join(lines[:left]))
    code, _, err = resume()
    assert code == 0, err
    assert f"{folder.metrics} has {left} rows, but the checkpoint counts 2; resuming from" in err
    assert "but the checkpoint counts" not in resume(images=40)[2]


def test_a_torn_line_of_a_run_is_told_and_swallows_no_other(resume, folder):
    whole = folder.environment.read_bytes()
    folder.environment.write_bytes(whole + whole[:40])
    code, _, err = resume()
    assert code == 0, err
    assert f"{folder.environment}: its last line was cut short and is removed" in err
    assert [json.loads(line)["images"] for line in folder.environment.read_text().splitlines()] == [0, 16]


# Names and messages.


HOSTILE = "a\nb\x1b[2J\x9b\u202e\u2066"


@pytest.mark.parametrize("command", [["report"], ["sample"], ["export"], ["train", "--resume"]])
def test_a_name_that_steers_a_terminal_is_refused_and_shown_escaped(run, folder, command):
    path = folder.path.rename(folder.path.with_name(HOSTILE))
    code, out, err = run(*command, path)
    assert code == 2
    assert not out
    assert is_one_line(err)
    assert r"a\nb\x1b[2J\x9b\u202e\u2066: the path holds control characters" in err


def test_whatever_is_printed_is_escaped_and_ordinary_names_stay(capsys):
    console.print_result("\x1b[2J\u202e Köln/日本\u200d/a b\u3000[x]\n2")
    console.say("\x1b]0;x\x07 [bold]")
    captured = capsys.readouterr()
    assert captured.out == "\\x1b[2J\\u202e Köln/日本\u200d/a b\u3000[x]\n2\n"
    assert captured.err == "\\x1b]0;x\\x07 [bold]\n"


def test_text_in_html_is_escaped():
    assert escape_html("<\x1b\ud800\u202e'\n") == "&lt;\\x1b\\ud800\\u202e&#x27;\n"
    assert escape_controls("\ud800\x00\x7f\x85\u2028") == r"\ud800\x00\x7f\x85\u2028"
    assert escape_controls("\ufeff\u200b\u2060") == r"\ufeff\u200b\u2060"


def test_the_message_of_a_broken_plugin_is_escaped(run, monkeypatch):
    broken = ganforge.plugins.loading.Plugin("p", "d", "1", "broken", "x\x1b[2J[bold]")
    monkeypatch.setattr("ganforge.plugins.loading.load_plugins", lambda *_: [broken])
    _, out, _ = run("plugins", "list")
    assert "\x1b" not in out
    assert r"x\x1b[2J[bold]" in out


def test_a_header_that_takes_minutes_is_refused_before_it_is_read(tmp_path):
    header = b"{" + b" " * (9 << 20) + b"}"
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match="its header has 9437186 bytes; the maximum is 8388608"):
        read_card(tmp_path / "x.safetensors")
