"""Folders that exporters write are complete, and no file of a user is changed."""

import shutil
import subprocess

import pytest

from ganforge import GanforgeError, OptionError
from ganforge.export.folder import SUMS, list_files, replacing_folder


def write(folder, **contents):
    with replacing_folder(folder, "a") as draft:
        for name, text in contents.items():
            path = draft / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)


def read(folder):
    return {name: (folder / name).read_text() for name in list_files(folder) if name != SUMS}


def test_a_folder_lists_its_files_as_sha256sum_reads_them(tmp_path):
    write(tmp_path / "new/page", a="1", b__c="2")
    assert read(tmp_path / "new/page") == {"a": "1", "b/c": "2"}
    if shutil.which("sha256sum"):
        done = subprocess.run(["sha256sum", "-c", SUMS], cwd=tmp_path / "new/page", capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["page"]


def test_own_files_are_replaced_or_go_and_others_stay(tmp_path):
    (tmp_path / "page").mkdir()
    write(tmp_path / "page", a="1", b__c="2", d="3")
    (tmp_path / "page/build").mkdir()
    (tmp_path / "page/build/program").write_text("mine")
    (tmp_path / "page/d").unlink()
    write(tmp_path / "page", a="4", e__f="5")
    assert read(tmp_path / "page") == {"a": "4", "e/f": "5", "build/program": "mine"}
    write(tmp_path / "page", a="6")
    assert read(tmp_path / "page") == {"a": "6", "build/program": "mine"}


def write_other(path):
    with replacing_folder(path, "b") as draft:
        (draft / "b").write_text("of another kind")


def change(path):
    write(path, a="1")
    (path / "a").write_text("mine")


def point_elsewhere(path):
    (path.parent / "outside").write_text("mine")
    path.mkdir()
    (path / SUMS).write_text("0  ../outside\n")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: path.write_text("mine"), "page already exists, and is not an earlier export of this kind"),
        (
            lambda path: path.mkdir() or (path / "diary").write_text("mine"),
            "page already exists, and is not an earlier export of this kind",
        ),
        (lambda path: path.symlink_to("nowhere"), "page already exists, and is not an earlier export of this kind"),
        (lambda path: write_other(path), "page already exists, and is not an earlier export of this kind"),
        (
            lambda path: path.mkdir() or (path / SUMS).write_text("nonsense"),
            "page already exists, and is not an earlier export of this kind",
        ),
        (change, "page/a was modified after its export"),
        (point_elsewhere, "page already exists, and is not an earlier export of this kind"),
    ],
)
def test_what_others_wrote_is_left_alone(tmp_path, prepare, message):
    prepare(tmp_path / "page")
    before = read(tmp_path) if (tmp_path / "page").exists() else None
    with pytest.raises(OptionError, match=message):
        write(tmp_path / "page", a="2")
    assert before is None or read(tmp_path) == before


def test_an_error_leaves_the_older_folder_as_it_was(tmp_path):
    write(tmp_path / "page", a="1")
    with (
        pytest.raises(GanforgeError, match="cannot write .*page: no space left"),
        replacing_folder(tmp_path / "page", "a"),
    ):
        raise OSError(28, "no space left")
    assert read(tmp_path / "page") == {"a": "1"}
    assert [each.name for each in tmp_path.iterdir()] == ["page"]
