"""The list of runs: facts from files that a stranger may have made."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ganforge.core.atomic_files import append_line
from ganforge.runs.folder import RunFolder
from ganforge.runs.shipped import shipped_names
from ganforge.runs.summary import Best, summarize, summarize_runs

ESCAPE = "\x1b[31m"


def make_run(path, rows=(), **sections):
    """A run directory of these rows."""
    folder = RunFolder(path)
    for each in (folder.samples, folder.checkpoints):
        each.mkdir(parents=True)
    folder.write_config({"recipe": "dcgan", "training": {"images": 100, "minutes": None}, **sections})
    for row in rows:
        append_line(folder.metrics, json.dumps(row))
    return folder


def tick(images, seconds=1.0, **numbers):
    return {"images": images, "seconds": seconds, "images_per_second": 9.0, **numbers}


ROWS = [tick(20), {"images": 40, "fid": 9.0, "kid": 1.0}, tick(40, 7.5), {"images": 60, "fid": 11.0}, tick(60, 12.25)]


def test_it_shows_images_time_score_picture_and_size(tmp_path):
    folder = make_run(tmp_path / "00003-mine", ROWS)
    for name in ("000000020.png", "000000060.png", "zebra.png"):
        (folder.samples / name).write_bytes(b"12345")
    (folder.samples / "000000080.png").symlink_to("/etc/passwd")
    found = summarize(folder.path)
    assert (found.name, found.state, found.images, found.seconds) == ("00003-mine", "stopped", 60, 12.25)
    assert found.best == Best("fid", 9.0, 40)
    assert found.picture == str(folder.samples / "000000060.png")
    assert found.num_bytes == 15 + folder.config.stat().st_size + folder.metrics.stat().st_size


HOLD = """
import pathlib, sys
from ganforge.runs.folder import RunFolder
with RunFolder(pathlib.Path(sys.argv[1])).hold():
    print("held", flush=True)
    input()
"""


def test_states(tmp_path):
    images = make_run(tmp_path / "images", [tick(100)])
    minutes = make_run(tmp_path / "minutes", [tick(7, 60.0)], training={"images": None, "minutes": 1.0})
    stopped = make_run(tmp_path / "stopped", [tick(99, 1e6)])
    imported = make_run(tmp_path / "imported", data={"source": "imported"})
    assert [summarize(each.path).state for each in (images, minutes, stopped, imported)] == [
        "finished", "finished", "stopped", "imported",
    ]  # fmt: skip
    command = [sys.executable, "-c", HOLD, stopped.path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert summarize(stopped.path).state == "running"
        other.communicate("\n")
    assert summarize(stopped.path).state == "stopped"


def test_a_line_that_is_being_written_is_no_damage(tmp_path):
    folder = make_run(tmp_path / "mine", ROWS)
    with folder.metrics.open("a") as file:
        file.write('{"images": 8')
    assert (summarize(folder.path).state, summarize(folder.path).images) == ("stopped", 60)


DAMAGES = {
    "no JSON": lambda folder: folder.config.write_text("{"),
    "a wrong type": lambda folder: folder.config.write_text('{"training": {"minutes": "long"}}'),
    "a link": lambda folder: (folder.path / "generator.safetensors").symlink_to("/etc/passwd"),
    "a pipe": lambda folder: (folder.metrics.unlink(), os.mkfifo(folder.metrics)),
    "a broken score": lambda folder: append_line(folder.metrics, '{"images": -1, "fid": 1}'),
    "a broken tick": lambda folder: append_line(folder.metrics, '{"images": "x", "images_per_second": 1}'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_run_is_listed_with_its_problem(damage, tmp_path):
    folder = make_run(tmp_path / "00000-mine", ROWS)
    damage(folder)
    *_, found = summarize_runs(tmp_path)
    assert (found.name, found.state, found.images) == ("00000-mine", "damaged", None)
    assert str(folder.path) in found.problem


def test_lines_and_json_list_shipped_generators_first(run, here):
    folder = make_run(Path("runs") / "00000-mine", ROWS)
    shutil.copytree(folder.path, "runs/00001-other")
    Path("runs/00001-other/config.json").write_text(f'{{"recipe": "{ESCAPE}"')
    append_line(folder.metrics, json.dumps({"images": 60, f"{'x' * 5000}{ESCAPE}": 1.0}))
    code, out, err = run("runs")
    assert code == 0, err
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", *shipped_names(), "00000-mine", "00001-other"]
    assert all(line.isprintable() and len(line) < 1000 for line in lines)
    assert lines[-2].split()[1:4] == ["stopped", "60", "0:00:12"]
    code, out, err = run("runs", "--json")
    assert [each["state"] for each in json.loads(out)["runs"]][-3:] == ["shipped", "stopped", "damaged"]
    assert run("runs", "--out", "nowhere")[1].count("\n") == 1 + len(shipped_names())
