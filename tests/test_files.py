"""Files are whole or not there, and what a killed process left half made is cleared away."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ganforge import GanforgeError
from ganforge.core.atomic_files import (
    append_line,
    drafting,
    read_bytes,
    remove_stale_drafts,
    remove_torn_line,
    replacing,
    write_bytes,
)
from ganforge.core.cache import clean_cache

HALF_WAY = """
import sys, time
from pathlib import Path
from ganforge.core.atomic_files import replacing
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
    code = (
        "import sys, pathlib, ganforge.core.atomic_files as files; files.write_bytes(pathlib.Path(sys.argv[1]), b'x')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_what_a_killed_process_left_goes_when_another_writes_there_and_what_is_at_work_stays(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    (tmp_path / ".mine.tmp").mkdir()
    (tmp_path / ".mine.tmp/thesis").touch()
    killed, working = begin(tmp_path / "file"), begin(tmp_path / "other")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.glob(".*.ganforge-draft"))) == 2
    write_elsewhere(tmp_path / "third")
    assert [each.name.split(".")[1] for each in tmp_path.glob(".*.ganforge-draft")] == ["other"]
    working.send_signal(signal.SIGKILL)
    working.wait()
    working.stdout.close()
    write_elsewhere(tmp_path / "third")
    assert sorted(os.listdir(tmp_path)) == [".mine.tmp", "file", "third"]


def test_what_is_left_over_in_the_cache_goes_though_nobody_writes_there(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    clean_cache()  # there is none yet
    (tmp_path / "cache" / "classifiers").mkdir(parents=True)
    for place in ("data.00000000", "classifiers/weights.00000001"):
        draft = tmp_path / "cache" / f"{Path(place).parent}/.{Path(place).name}.ganforge-draft"
        draft.mkdir()
        if place.startswith("data"):  # of the other one the maker died before its lock was there
            (draft / "ganforge.lock").touch()
            (draft / "half").touch()
    (tmp_path / "cache" / "classifiers" / "weights").touch()
    clean_cache()
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
    draft = tmp_path / ".x.00000001.ganforge-draft"
    draft.mkdir()
    (draft / "ganforge.lock").touch()
    write_bytes(tmp_path / "file", b"new")
    assert sorted(os.listdir(tmp_path)) == [draft.name, "file"]  # its maker may be at work


def test_a_draft_that_cannot_be_locked_is_removed(tmp_path, monkeypatch):
    def fill_disk(_path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ganforge.core.atomic_files.lock_file", fill_disk)
    with pytest.raises(GanforgeError, match="No space left on device"):
        write_bytes(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == []


def test_two_drafts_of_one_place_do_not_meet(tmp_path):
    path = Path(tmp_path / "file")
    with drafting(path) as first, drafting(path) as second:
        assert first != second
    assert os.listdir(tmp_path) == []


def test_only_a_folder_of_the_form_and_with_the_lock_of_a_draft_is_swept(tmp_path):
    outside = tmp_path / "outside"
    (tmp_path / "here").mkdir()
    kept = [".mydata.tmp", ".x.00000001.tmp", ".x.0000000g.ganforge-draft", ".x.00000002.ganforge-draft"]
    for name in (*kept, "../outside"):
        (tmp_path / "here" / name).mkdir()
        (tmp_path / "here" / name / "thesis").touch()
    for name in (kept[2], "../outside"):
        (tmp_path / "here" / name / "ganforge.lock").touch()
    (tmp_path / "here/.x.00000003.ganforge-draft").symlink_to(outside)
    (tmp_path / "here" / kept[3] / "ganforge.lock").symlink_to(outside / "ganforge.lock")
    remove_stale_drafts(tmp_path / "here")
    assert all((tmp_path / "here" / name / "thesis").exists() for name in (*kept, "../outside"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_not_a_regular_file_is_refused_at_once(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(OSError, match="not a regular file|Is a directory"):
        read_bytes(tmp_path / "x")
    with pytest.raises(GanforgeError, match="^cannot write .*(not a regular file|Is a directory)"):
        append_line(tmp_path / "x", "a")


def test_a_link_is_read_where_a_user_named_it_and_never_written_through(tmp_path):
    (tmp_path / "target").write_bytes(b"whole\ntorn")
    (tmp_path / "link").symlink_to("target")
    os.link(tmp_path / "target", tmp_path / "hard")
    assert read_bytes(tmp_path / "link") == b"whole\ntorn"
    with pytest.raises(OSError, match="it is a symbolic link"):
        read_bytes(tmp_path / "link", follow=False)
    for name, reason in (("link", "it is a symbolic link"), ("hard", "it is a hard link")):
        for change in (lambda path: append_line(path, "a"), remove_torn_line):
            with pytest.raises(GanforgeError, match=reason):
                change(tmp_path / name)
    assert (tmp_path / "target").read_bytes() == b"whole\ntorn"


def test_a_line_is_one_line_and_never_runs_into_a_torn_one(tmp_path):
    (tmp_path / "log").write_bytes(b"whole\ntorn")
    append_line(tmp_path / "log", "a\nssh-rsa \x1b[2J\u202e\udcff")
    assert (tmp_path / "log").read_text() == "whole\ntorn\na\\nssh-rsa \\x1b[2J\\u202e\\udcff\n"


def test_a_torn_line_is_removed_and_told_once(tmp_path):
    assert not remove_torn_line(tmp_path / "rows")
    (tmp_path / "rows").write_bytes(b"whole\ntorn")
    assert remove_torn_line(tmp_path / "rows") == f"{tmp_path}/rows: its last line was cut short and is removed"
    assert not remove_torn_line(tmp_path / "rows")
    assert (tmp_path / "rows").read_bytes() == b"whole\n"
