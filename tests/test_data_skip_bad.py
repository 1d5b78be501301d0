"""Unreadable examples are skipped on request: counted, named and limited; strict is the default."""

import json
import os
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ganforge import Dataset
from ganforge.cli.data import app
from ganforge.config.schema import resolve
from ganforge.contract.errors import DataError, PluginError
from ganforge.data import PackedData, decode, open_data, pack_data
from ganforge.data.check import check_data
from ganforge.data.pack import open_configured
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry


def picture(seed, size=(8, 8)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def cut(path):
    """Cut a picture off behind its header."""
    os.truncate(path, path.stat().st_size * 2 // 3)


def fill(root, names):
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(seed).save(root / name)
    return root


@pytest.fixture
def photos(tmp_path):
    """Ten cats and eleven dogs; a dog without content and a cat that is cut off."""
    root = fill(tmp_path / "photos", [f"{kind}/{index:02}.png" for kind in ("cat", "dog") for index in range(10)])
    cut(root / "cat" / "03.png")
    (root / "dog" / "00.jpg").write_bytes(b"")
    return root


def without_bad(root):
    (root / "cat" / "03.png").unlink()
    (root / "dog" / "00.jpg").unlink()
    return root


def test_bad_files_are_left_out_and_the_rest_is_as_if_they_had_never_been(photos, tmp_path):
    data = open_data(str(photos), skip_bad=True)
    assert len(data) == 19
    assert data.left_out == {
        "cat/03.png": "cannot be decoded: image file is truncated",
        "dog/00.jpg": "the file is empty",
    }
    assert data.is_intact()
    clean = open_data(str(without_bad(photos)))
    assert torch.equal(data.examples, clean.examples)
    assert torch.equal(data.labels, clean.labels)
    assert data.fingerprint == clean.fingerprint
    assert clean.left_out == {}


def test_a_zip_leaves_out_what_its_folder_does(photos, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in photos.rglob("*.*"):
            archive.write(path, path.relative_to(photos))
    zipped, folder = (open_data(str(path), skip_bad=True) for path in (tmp_path / "photos.zip", photos))
    assert zipped.fingerprint == folder.fingerprint
    assert zipped.left_out == folder.left_out


def test_strict_is_the_default_and_its_hint_names_the_way_out(photos):
    with pytest.raises(DataError, match=r"dog/00\.jpg: the file is empty") as error:
        open_data(str(photos))
    assert "--skip-bad" in error.value.hint
    assert "ganforge data check" in error.value.hint


def test_the_note_counts_them_and_names_a_few(tmp_path):
    root = fill(tmp_path / "photos", [f"{index:03}.png" for index in range(70)])
    for index in range(7):
        (root / f"{index:03}.png").write_bytes(b"<html>")
    lines = open_data(str(root), skip_bad=True).note.splitlines()
    assert lines[0] == "skipped 7 of 70 examples that cannot be read:"
    assert lines[1] == "  000.png: this is a web page or other text, not an image"
    assert len(lines) == 7
    assert "and 2 more" in lines[-1]


def test_every_opening_says_what_is_left_out(photos):
    notes = [open_data(str(photos), skip_bad=True).note for _ in range(2)]
    assert notes[0] == notes[1]
    assert "skipped 2 of 21" in notes[0]


@pytest.mark.parametrize(("count", "bad", "borne"), [(30, 3, True), (30, 4, False), (9, 1, False), (10, 1, True)])
def test_more_than_one_in_ten_is_refused_in_one_line(tmp_path, count, bad, borne):
    root = fill(tmp_path / "photos", [f"{index:02}.png" for index in range(count)])
    for index in range(bad):
        (root / f"{index:02}.png").write_bytes(b"")
    if borne:
        assert len(open_data(str(root), skip_bad=True)) == count - bad
        return
    with pytest.raises(DataError, match=f"photos: more than {bad - 1} of {count} cannot be read, e.g.") as error:
        open_data(str(root), skip_bad=True)
    assert "\n" not in str(error.value)
    assert "one in 10" in error.value.hint


def test_files_that_break_only_when_decoded_count_too(tmp_path):
    root = fill(tmp_path / "photos", [f"{index:02}.png" for index in range(20)])
    for index in range(3):
        cut(root / f"{index:02}.png")
    with pytest.raises(DataError, match="more than 2 of 20 cannot be read"):
        open_data(str(root), skip_bad=True)


def test_a_strict_opening_does_not_find_what_was_packed_with_gaps(photos):
    open_data(str(photos), skip_bad=True)
    with pytest.raises(DataError, match=r"photos, cat/03\.png: cannot be decoded") as error:
        open_data(str(photos))
    assert "--skip-bad" in error.value.hint
    assert len(open_data(str(photos), skip_bad=True)) == 19


def test_whole_data_are_packed_once_for_both_ways(photos, monkeypatch):
    strict = open_data(str(without_bad(photos)))
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("decoded again"))
    lenient = open_data(str(photos), skip_bad=True)
    assert lenient.fingerprint == strict.fingerprint
    assert lenient.note == ""


def test_the_size_is_that_of_what_is_left(tmp_path):
    root = fill(tmp_path / "photos", [f"{index:02}.png" for index in range(20)])
    picture(99, (31, 17)).save(root / "05.png")
    cut(root / "05.png")
    assert open_data(str(root), skip_bad=True).spec.shape == (3, 8, 8)


def test_packing_anew_does_not_decode_what_is_bad_again(tmp_path, monkeypatch):
    root = fill(tmp_path / "photos", [f"{index:02}.png" for index in range(20)])
    picture(99, (31, 17)).save(root / "05.png")  # so that all are packed at 64 x 64 first, and then at their own size
    cut(root / "05.png")
    decoded = Counter()

    def normalize(image, name, *, deep):
        decoded[Path(name).name] += 1
        return decode.normalize(image, name, deep=deep)

    monkeypatch.setattr("ganforge.data.files.normalize", normalize)
    open_data(str(root), skip_bad=True)
    assert decoded == {f"{index:02}.png": 1 if index == 5 else 2 for index in range(20)}


@pytest.mark.parametrize("form", ["folders", "label list"])
def test_a_class_that_would_be_empty_is_refused_in_words(tmp_path, form):
    root = fill(tmp_path / "photos", [*(f"cat/{index:02}.png" for index in range(18)), "dog/a.png", "dog/b.png"])
    if form == "label list":
        labels = [[path.relative_to(root).as_posix(), int(path.parent.name == "dog")] for path in root.rglob("*.png")]
        (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    cut(root / "dog" / "a.png")
    assert open_data(str(root), skip_bad=True).labels.tolist() == [0] * 18 + [1]
    cut(root / "dog" / "b.png")
    os.utime(root / "dog" / "b.png", ns=(1, 1))
    name = {"folders": "dog", "label list": "1"}[form]
    with pytest.raises(DataError, match=rf"class '{name}' would be empty.*dog/a\.png") as error:
        open_data(str(root), skip_bad=True)
    assert "repair one" in error.value.hint
    assert f"class '{name}' would be empty" in check_data(root, skip_bad=True).problem
    assert f"--skip-bad would fail: {root}: class '{name}' would be empty" in check_data(root).hint


def test_a_dangling_link_and_a_file_that_is_too_large_are_bad_files_like_others(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.files.LARGEST_FILE", 1 << 20)
    root = fill(tmp_path / "photos", [f"{index:02}.png" for index in range(20)])
    (root / "20.png").symlink_to(tmp_path / "gone.png")
    (root / "21.png").symlink_to("21.png")
    assert open_data(str(root), skip_bad=True).left_out == {
        "20.png": "cannot be read: No such file or directory",
        "21.png": "cannot be read: Too many levels of symbolic links",
    }
    (root / "21.png").unlink()
    with (root / "21.png").open("wb") as file:
        file.truncate((1 << 20) + 1)
    assert open_data(str(root), skip_bad=True).left_out == {
        "20.png": "cannot be read: No such file or directory",
        "21.png": "1 MiB exceed the limit of 1 MiB",
    }


def test_rows_that_are_not_finite_are_left_out_of_an_array(tmp_path):
    array = np.random.default_rng(0).normal(size=(40, 3))
    array[7, 1] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match="example 7 holds non-finite values"):
        open_data(str(tmp_path / "a.npy"))
    data = open_data(str(tmp_path / "a.npy"), skip_bad=True)
    assert np.array_equal(data.examples, np.delete(array, 7, axis=0).astype(np.float32))
    assert list(data.left_out) == ["example 7"]


class Pictures(Dataset):
    """Pictures with labels, of which some fail in one way or another."""

    class_names = ("even", "odd")

    def __init__(self, *, failing: str = "none", label: int = 0):
        self.failing = failing

    def __len__(self):
        return 20

    def __getitem__(self, index):
        if index == 5 and self.failing == "data":
            raise DataError("lost")
        if index == 5 and self.failing == "bug":
            raise KeyError("lost")
        if index == 5 and self.failing == "contract":
            return "photo.png", 1
        return picture(index), index % 2


def open_pictures(failing):
    registry = Registry([Plugin("test", "test", "", "ok", parts={"dataset": {"pictures": Pictures}})])
    return open_data("pictures", registry=registry, options={"failing": failing}, skip_bad=True)


def test_a_data_set_may_say_that_an_example_cannot_be_read():
    data = open_pictures("data")
    assert data.labels.tolist() == [index % 2 for index in range(20) if index != 5]
    assert data.left_out == {"example 5": "lost"}


@pytest.mark.parametrize("failing", ["bug", "contract"])
def test_a_data_set_that_is_broken_stays_an_error(failing):
    with pytest.raises(PluginError, match="example 5"):
        open_pictures(failing)


def test_large_images_on_several_threads_are_left_out_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.threads._num_cores", lambda: 4)
    monkeypatch.setattr("ganforge.data.threads._CHUNK_PIXELS", 2 * 160 * 160)
    for index in range(40):
        Image.new("L", (160, 160), index).save(tmp_path / f"{index:02}.png")
    for index in (31, 3, 17):
        cut(tmp_path / f"{index:02}.png")
    data = open_data(str(tmp_path), resolution=16, skip_bad=True)
    assert data.examples[:, 0, 8, 8].tolist() == [index for index in range(40) if index not in (3, 17, 31)]
    assert list(data.left_out) == ["03.png", "17.png", "31.png"]


# ---- packed folders, configurations, the command line ----


def test_a_packed_folder_says_what_is_not_in_it_and_is_whole_by_itself(photos, tmp_path):
    packed = pack_data(str(photos), tmp_path / "packed", skip_bad=True)
    manifest = json.loads((tmp_path / "packed" / "manifest.json").read_text())
    assert list(manifest["origin"]["left_out"]) == ["cat/03.png", "dog/00.jpg"]
    assert manifest["shape"][0] == 19
    assert np.load(tmp_path / "packed" / "examples.npy").shape == (19, 3, 8, 8)
    opened = open_data(str(tmp_path / "packed"))
    assert opened.fingerprint == packed.fingerprint
    assert check_data(tmp_path / "packed").usable


def test_a_damaged_record_of_what_was_left_out_is_an_error(photos, tmp_path):
    pack_data(str(photos), tmp_path / "packed", skip_bad=True)
    manifest = tmp_path / "packed" / "manifest.json"
    written = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**written, "origin": {"left_out": ["a.png"]}}))
    with pytest.raises(DataError, match="left_out"):
        PackedData.load(tmp_path / "packed")


@pytest.mark.parametrize("skip_bad", [True, False])
def test_a_configuration_finds_the_same_data_again(photos, skip_bad):
    registry = Registry.installed()
    layer = {"recipe": "dcgan", "data": {"source": str(photos), "skip_bad": skip_bad}}
    config = resolve(registry, json.loads(json.dumps(resolve(registry, layer).tree())))
    assert config.data.skip_bad is skip_bad
    if skip_bad:
        assert open_configured(config.data, registry).fingerprint == open_data(str(photos), skip_bad=True).fingerprint
    else:
        with pytest.raises(DataError):
            open_configured(config.data, registry)


def test_a_run_records_it_and_goes_on_with_the_same_data(run, here, photos):
    arguments = ["--arch", "mlp", "--data", "photos", "--batch", 4, "--device", "cpu", "--set", "training.samples=1"]
    code, _, errors = run("train", *arguments, "--images", 8)
    assert code == 2
    assert "--skip-bad" in errors
    code, _, errors = run("train", *arguments, "--images", 8, "--skip-bad")
    assert code == 0, errors
    assert "skipped 2 of 21" in errors
    (config,) = here.rglob("config.json")
    assert json.loads(config.read_text())["data"]["skip_bad"] is True
    code, _, errors = run("train", "--resume", "--images", 16)
    assert code == 0, errors
    code, _, errors = run("train", "--resume", "--images", 24, "--skip-bad")
    assert code == 2
    assert "keeps the configuration of the run" in errors


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def test_a_check_says_what_skipping_would_do(command, photos):
    strict = check_data(photos)
    assert not strict.usable
    assert "--skip-bad would leave out 2 of 21, unchanged, 8 x 8" in strict.hint
    lenient = check_data(photos, skip_bad=True)
    assert lenient.usable
    assert lenient.training.startswith("leave out 2 of 21, unchanged")
    assert strict.unreadable == lenient.unreadable == open_data(str(photos), skip_bad=True).left_out
    assert command("check", photos).exit_code != 0
    assert command("check", photos, "--skip-bad").exit_code == 0


def test_a_check_says_when_skipping_would_not_do(photos):
    cut(photos / "dog" / "01.png")
    report = check_data(photos)
    assert "too many for --skip-bad" in report.hint
    problem = check_data(photos, skip_bad=True).problem
    with pytest.raises(DataError) as error:
        open_data(str(photos), skip_bad=True)
    assert problem.removeprefix(f"{photos}: 3") == error.value.message.removeprefix(f"{photos}: more than 2")


def test_a_check_lists_rows_of_an_array_that_cannot_be_used(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.0], [np.inf], [2.0]]))
    report = check_data(tmp_path / "a.npy")
    assert report.count == 3
    assert report.sizes == {"1": 2}
    assert report.unreadable == {"example 1": "holds non-finite values"}


def test_packing_takes_the_flag(command, photos, tmp_path):
    assert isinstance(command("pack", photos, tmp_path / "packed").exception, DataError)
    result = command("pack", photos, tmp_path / "packed", "--skip-bad")
    assert result.exit_code == 0
    assert "19 examples" in result.stdout
    assert len(PackedData.load(tmp_path / "packed")) == 19
