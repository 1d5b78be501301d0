"""A file system that machines share shows what one has written to others only later; no work is lost by that."""

import errno
import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from ganforge.core.atomic_files import drafting, remove_stale_drafts
from ganforge.data import open_data, pack
from ganforge.data.pack import Source

LATE = 0.5


@contextmanager
def arriving(path, hidden):
    """A file or folder that is visible at `path` only after a while; until then it is at `hidden`."""
    path.rename(hidden)
    thread = threading.Thread(target=lambda: (time.sleep(LATE), os.rename(hidden, path)))
    thread.start()
    yield
    thread.join()


@pytest.fixture
def packed(image_folder, tmp_path):
    """Data that another machine has just packed into a cache, and its folder there."""
    data = open_data(str(image_folder), cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    return data, folder


@pytest.mark.parametrize("name", ["manifest.json", "examples.npy", "labels.npy"])
def test_data_of_another_machine_that_arrive_file_by_file_are_not_packed_again(
    image_folder, packed, tmp_path, monkeypatch, name
):
    monkeypatch.setattr(Source, "pack", lambda *_: pytest.fail("packed again"))
    data, folder = packed
    with arriving(folder / name, tmp_path / "hidden"):
        found = open_data(str(image_folder), cache=folder.parent)
    assert found.fingerprint == data.fingerprint
    assert found.is_intact()


def test_who_packs_later_takes_what_another_machine_has_packed_though_it_cannot_see_it_yet(
    image_folder, packed, tmp_path, monkeypatch
):
    data, folder = packed

    def taken(self, target):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    hidden = folder.rename(tmp_path / "hidden")
    monkeypatch.setattr(Path, "rename", taken)  # the server knows what this machine does not
    thread = threading.Timer(2 * LATE, os.rename, (hidden, folder))
    thread.start()
    found = open_data(str(image_folder), cache=folder.parent)
    thread.join()
    assert found.fingerprint == data.fingerprint
    assert found.note == ""
    assert [each.name for each in folder.parent.iterdir()] == [folder.name]


def test_a_folder_that_stays_incomplete_is_packed_again(image_folder, packed, monkeypatch):
    monkeypatch.setattr(pack, "LAG", LATE)
    data, folder = packed
    (folder / "labels.npy").unlink()
    found = open_data(str(image_folder), cache=folder.parent)
    assert found.fingerprint == data.fingerprint
    assert found.is_intact()


def test_a_draft_of_another_machine_is_kept_for_a_day_because_its_lock_may_not_be_seen(tmp_path, monkeypatch):
    def sweep():
        remove_stale_drafts.cache_clear()
        remove_stale_drafts(tmp_path)

    monkeypatch.setattr("fcntl.flock", lambda *_: None)  # as where each machine has locks of its own
    monkeypatch.setattr("platform.node", lambda: "first")
    with drafting(tmp_path / "file") as draft:
        draft.touch()
        monkeypatch.setattr("platform.node", lambda: "second")
        sweep()
        assert draft.exists()
        os.utime(draft.parent, (0, 0))
        sweep()
        assert not draft.exists()
