"""Files are whole or not there, and what a killed process left half made is cleared away."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganforge import GanforgeError
from ganforge.data.cache import sweep_cache
from ganforge.files import drafting, replacing, write_bytes

HALF_WAY = """
import sys, time
from pathlib import Path
from ganforge.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half of it")
    (temporary.parent / ".tmpXYZ").write_bytes(b"a file that a library made beside it")
    print("ready", flush=True)
    time.sleep(60)
"""


def begin(path):
    """A process that is half way through a file."""
    process = subprocess.Popen([sys.executable, "-c", HALF_WAY, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def write_elsewhere(path):
    """Have a process of its own write a file."""
    code = "import sys, pathlib, ganforge.files as files; files.write_bytes(pathlib.Path(sys.argv[1]), b'x')"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_what_a_killed_process_left_goes_when_another_writes_there_and_what_is_at_work_stays(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / ".mine.tmp").write_bytes(b"no draft of ours")
    killed, working = begin(tmp_path / "file"), begin(tmp_path / "other")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.glob(".*.tmp"))) == 3
    write_elsewhere(tmp_path / "third")
    left = sorted(each.name.split(".")[1] for each in tmp_path.glob(".*.tmp"))
    assert left == ["mine", "other"]
    working.send_signal(signal.SIGKILL)
    working.wait()
    working.stdout.close()
    write_elsewhere(tmp_path / "third")
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "file", "third"]


def test_what_is_left_over_in_the_cache_goes_though_nobody_writes_there(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    sweep_cache()  # there is none yet
    left = [tmp_path / "cache" / ".data.0.tmp", tmp_path / "cache" / "classifiers" / ".weights.1.tmp"]
    for each in left:
        each.mkdir(parents=True)
    (tmp_path / "cache" / "classifiers" / "weights").touch()
    sweep_cache()
    assert sorted(path.name for path in (tmp_path / "cache").rglob("*")) == ["classifiers", "weights"]


def test_a_file_has_the_rights_that_any_new_file_has(tmp_path):
    (tmp_path / "plain").touch()
    with replacing(tmp_path / "ours") as temporary:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def write_half(path, error):
    with replacing(path) as temporary:
        temporary.write_bytes(b"half of it")
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_whatever_ends_the_writing_the_old_file_is_as_it_was_and_nothing_is_left(tmp_path, error):
    write_bytes(tmp_path / "file", b"old")
    with pytest.raises(error):
        write_half(tmp_path / "file", error)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "folder").touch()
    with pytest.raises(GanforgeError, match=f"^cannot write {tmp_path}/folder/file: "):
        write_bytes(tmp_path / "folder/file", b"x")


def test_where_locks_are_not_to_be_had_files_are_written_all_the_same(tmp_path, monkeypatch):
    def refuse(_descriptor, _operation):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".x.1.tmp").mkdir()
    write_bytes(tmp_path / "file", b"new")
    assert sorted(os.listdir(tmp_path)) == [".x.1.tmp", "file"]  # it could belong to somebody at work


def test_two_drafts_of_one_place_do_not_meet(tmp_path):
    path = Path(tmp_path / "file")
    with drafting(path) as first, drafting(path) as second:
        assert first != second
    assert os.listdir(tmp_path) == []
