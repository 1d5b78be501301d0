"""`ganforge data`: what a person learns about a folder before training, and what packing leaves behind."""

import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganforge.cli.data import app
from ganforge.contract.data import Dataset
from ganforge.contract.errors import DataError, PluginError
from ganforge.data import PackedData, open_data
from ganforge.data.advice import advise
from ganforge.data.check import check_data
from ganforge.plugins.loading import Plugin
from ganforge.plugins.registry import Registry


@pytest.fixture
def pets(tmp_path):
    """Four cats and two dogs: two sizes, two modes, one copy."""
    root = tmp_path / "pets"
    for kind, count in (("cat", 4), ("dog", 2)):
        (root / kind).mkdir(parents=True)
        for index in range(count):
            pixels = np.random.default_rng(index).integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(root / kind / f"{index}.png")
    Image.new("L", (16, 16), 90).save(root / "cat" / "3.png")
    return root


def test_a_report_counts_what_is_there(pets):
    report = check_data(pets)
    assert report.usable
    assert (report.kind, report.count) == ("folder", 6)
    assert report.sizes == {"30 x 20": 5, "16 x 16": 1}
    assert report.modes == {"RGB": 5, "L": 1}
    assert report.classes == {"cat": 4, "dog": 2}
    assert report.duplicates == [["cat/0.png", "dog/0.png"], ["cat/1.png", "dog/1.png"]]
    assert report.unreadable == {}


def test_runs_in_a_folder_are_left_out_and_named(pets):
    for name in ("00000-rpgan-pets", "00001-mine"):
        (pets / "runs" / name / "samples").mkdir(parents=True)
        (pets / "runs" / name / "config.json").write_text("{}")
        Image.new("RGB", (16, 16)).save(pets / "runs" / name / "samples" / "000000000.png")
    report = check_data(pets)
    assert report.classes == {"cat": 4, "dog": 2}
    assert "left out, as a run of ganforge: runs/00000-rpgan-pets and 1 more" in report.training
    assert len(open_data(str(pets))) == 6
    assert "runs/00000-rpgan-pets" in open_data(str(pets)).note
    assert check_data(pets / "runs/00001-mine/samples").count == 1


def test_a_report_says_what_training_then_does(pets):
    training = check_data(pets).training
    for word in ("crop", "resize", "64 x 64", "RGB", "2 classes"):
        assert word in training
    assert open_data(str(pets)).spec.shape == (3, 64, 64)
    assert "unchanged" in check_data(pets / "dog").training
    assert "30 x 20" in check_data(pets / "dog").training
    assert open_data(str(pets / "dog")).spec.shape == (3, 20, 30)


def test_a_report_says_what_a_resolution_does(pets):
    report = check_data(pets, resolution="48x64")
    assert report.shape == (64, 48, 3)
    assert report.training.startswith("crop to the central 3:4, resize, 48 x 64 (as requested)")
    assert open_data(str(pets), resolution="48x64").spec.shape == (3, 64, 48)


def test_advice_keeps_the_shape_that_the_images_share(tmp_path):
    def command(*sizes):
        folder = tmp_path / str(sizes)
        folder.mkdir()
        for index, size in enumerate(sizes):
            Image.new("RGB", size, (index, 0, 0)).save(folder / f"{index}.png")
        return advise(check_data(folder)).command

    assert "--resolution 80x64 " in command((1000, 800), (500, 400), (130, 100))
    assert "--resolution 64x80 " in command((600, 800), (603, 800))
    assert "--resolution" not in command((640, 480), (480, 640)), "64 is the default"
    assert "--resolution" not in command((64, 48))
    assert "--resolution 176x64 " in command((1100, 400))


def test_a_report_names_every_unreadable_file_and_why(pets):
    (pets / "dog" / "0.png").write_bytes(b"")
    (pets / "cat" / "9.jpg").write_bytes(b"<html>")
    report = check_data(pets)
    assert not report.usable
    assert report.count == 7
    assert set(report.unreadable) == {"dog/0.png", "cat/9.jpg"}
    assert "empty" in report.unreadable["dog/0.png"]
    assert "web page" in report.unreadable["cat/9.jpg"]
    assert "2 of 7 cannot be read" in report.problem


def test_a_zip_reads_as_its_folder_does(pets, tmp_path):
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for path in pets.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    folder, zipped = check_data(pets), check_data(tmp_path / "pets.zip")
    assert zipped.kind == "zip"
    for field in ("sizes", "modes", "classes", "duplicates", "training"):
        assert getattr(zipped, field) == getattr(folder, field)


@pytest.mark.parametrize(
    ("array", "size", "mode"),
    [
        (np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5), "5 x 4", "L"),
        (np.arange(2 * 7 * 5 * 3).astype(np.uint8).reshape(2, 7, 5, 3), "5 x 7", "RGB"),
        (np.eye(2, dtype=np.float32), "2", "vector"),
    ],
)
def test_an_array_is_reported_too(tmp_path, array, size, mode):
    np.save(tmp_path / "a.npy", array)
    report = check_data(tmp_path / "a.npy")
    assert report.usable
    assert (report.kind, report.count, report.sizes, report.modes) == ("array", 2, {size: 2}, {mode: 2})
    assert report.duplicates == []


def test_equal_rows_of_an_array_are_duplicates(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4, 4), np.uint8))
    assert check_data(tmp_path / "a.npy").duplicates == [["example 0", "example 1", "example 2"]]


def test_a_packed_folder_with_a_flipped_bit_is_not_usable(pets, tmp_path):
    open_data(str(pets)).save(tmp_path / "packed")
    assert check_data(tmp_path / "packed").usable
    array = tmp_path / "packed" / "examples.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    assert "fingerprint" in check_data(tmp_path / "packed").problem


@pytest.fixture
def command():
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_reports_on_standard_output_and_leaves_with_0(command, pets):
    result = command("check", pets)
    assert result.exit_code == 0
    for text in ("6 examples", "30 x 20: 5", "cat: 4", "cat/0.png = dog/0.png", "64 x 64"):
        assert text in result.stdout


def test_the_command_fails_with_one_line_where_training_would(command, pets):
    (pets / "dog" / "0.png").write_bytes(b"")
    result = command("check", pets)
    assert "dog/0.png: the file is empty" in result.stdout
    assert isinstance(result.exception, DataError)
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("broken", [False, True])
def test_json_is_one_object_and_the_exit_code_says_whether_it_is_usable(command, pets, broken):
    if broken:
        (pets / "dog" / "0.png").write_bytes(b"")
    result = command("check", pets, "--json")
    report = json.loads(result.stdout)
    assert report["usable"] is not broken
    assert bool(report["problem"]) is broken
    assert result.exit_code == (2 if broken else 0)


def test_long_lists_are_cut_short(command, tmp_path):
    for index in range(30):
        (tmp_path / f"{index:02}.png").write_bytes(b"")
    result = command("check", tmp_path)
    assert "09.png" in result.stdout
    assert "10.png" not in result.stdout
    assert "and 20 more" in result.stdout


def test_a_data_set_is_looked_at_by_its_name(command):
    result = command("check", "stacked-mnist", "--set", "data.split=nowhere")
    assert "split" in str(result.exception)
    result = command("check", "avatars", "--set", "data.count=30", "--set", "data.resolution=16")
    assert result.exit_code == 0, result.exception
    for words in ("avatars: data set, 30 examples", "16 x 16: 30", "RGB: 30", "unchanged"):
        assert words in result.stdout
    assert "--data avatars --set data.count=30 --set data.resolution=16" in result.stdout


def test_bad_examples_of_a_data_set_are_listed_by_name():
    class Shards(Dataset):
        class_names = ("cat", "dog")

        def __len__(self):
            return 20

        def __getitem__(self, index):
            if index == 7:
                raise DataError("it is cut off")
            return np.full((8, 8, 3), index // 2, np.uint8), index % 2

        def example_name(self, index):
            return f"a.tar/{index}.png"

    registry = Registry([Plugin("test", "test", "", "ok", parts={"dataset": {"shards": Shards}})])
    report = check_data("shards", registry=registry)
    assert report.unreadable == {"a.tar/7.png": "it is cut off"}
    assert report.classes == {"cat": 10, "dog": 9}
    assert report.duplicates[0] == ["a.tar/0.png", "a.tar/1.png"]
    assert not report.usable
    assert check_data("shards", skip_bad=True, registry=registry).usable


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, -1, 1], [0, None, 1]])
def test_labels_that_training_would_refuse_are_refused(labels):
    class Wrong(Dataset):
        class_names = ("cat", "dog")

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return np.zeros((8, 8), np.uint8), labels[index]

    registry = Registry([Plugin("test", "test", "", "ok", parts={"dataset": {"wrong": Wrong}})])
    with pytest.raises(PluginError) as training:
        open_data("wrong", registry=registry)
    with pytest.raises(PluginError) as looked:
        check_data("wrong", registry=registry)
    assert str(looked.value) == str(training.value)


def test_packing_writes_a_folder_that_opens(command, pets, tmp_path):
    result = command("pack", pets, tmp_path / "out", "--resolution", "8")
    assert result.exit_code == 0
    assert "6 examples [3, 8, 8], 2 classes" in result.stdout
    assert PackedData.load(tmp_path / "out").spec.shape == (3, 8, 8)


@pytest.mark.slow
def test_a_data_set_can_be_packed_by_name(command, tmp_path):
    assert command("pack", "ring-8", tmp_path / "out").exit_code == 0
    assert PackedData.load(tmp_path / "out").spec.shape == (2,)


def test_options_of_a_data_set_are_given_as_in_training(command, tmp_path):
    assert command("pack", "ring-8", tmp_path / "out", "--set", "data.count=40").exit_code == 0
    assert len(PackedData.load(tmp_path / "out")) == 40
    for setting, reason in (("generator.width=4", "only data options are supported"), ("data.cuont=4", "count")):
        told = str(command("pack", "ring-8", tmp_path / "no", "--set", setting).exception)
        assert reason in told
    assert not (tmp_path / "no").exists()


def test_packing_over_something_is_refused(command, pets):
    assert isinstance(command("pack", pets, pets).exception, DataError)
