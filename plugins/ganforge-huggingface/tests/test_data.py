"""Data sets in the forms that the package ``datasets`` reads; all of them local."""

import io
import os
import subprocess
import sys

import datasets
import ganforge
import numpy as np
import pytest
from ganforge import DataError, OptionError
from ganforge.testing import check_dataset
from PIL import Image

from ganforge_huggingface import HubDataset


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("GANFORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets.disable_progress_bars()


def pixels(number):
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)


def picture(number):
    stream = io.BytesIO()
    Image.fromarray(pixels(number)).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": f"{number}.png"}


def table(count=12, **columns):
    features = {"image": datasets.Image()}
    content = {"image": [picture(number) for number in range(count)]}
    for name, (values, feature) in columns.items():
        content[name], features[name] = values, feature
    return datasets.Dataset.from_dict(content, features=datasets.Features(features))


ANIMAL = ([number % 2 for number in range(12)], datasets.ClassLabel(names=["cat", "dog"]))


@pytest.fixture(params=["parquet", "saved", "saved splits"])
def folder(request, tmp_path):
    """The same rows in each local form."""
    rows, place = table(label=ANIMAL), tmp_path / "set"
    if request.param == "parquet":
        (place / "data").mkdir(parents=True)
        rows.to_parquet(place / "data/train-00000-of-00001.parquet")
    elif request.param == "saved":
        rows.save_to_disk(place)
    else:
        datasets.DatasetDict({"train": rows, "test": rows.select(range(3))}).save_to_disk(place)
    return str(place)


def test_every_local_form_yields_the_pictures_and_their_classes(folder):
    data = HubDataset(path=folder)
    assert len(data) == 12
    assert data.class_names == ("cat", "dog")
    for number in (11, 0, 5):
        image, label = data[number]
        assert np.array_equal(np.asarray(image), pixels(number))
        assert label == number % 2
        assert data.example_shape(number) == (8, 8, 3)
    check_dataset(HubDataset, path=folder)
    assert HubDataset(path=folder).cache_key() == data.cache_key() != HubDataset(path=folder, label="none").cache_key()
    assert isinstance(HubDataset(path=folder, label="none")[0], Image.Image)


def test_a_folder_of_pictures_will_do(tmp_path):
    for number in range(6):
        place = tmp_path / "set" / "train" / "ab"[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(number)).save(place / f"{number}.png")
    data = HubDataset(path=str(tmp_path / "set"))
    assert data.class_names == ("a", "b")
    assert sorted(np.asarray(data[number][0]).tobytes() for number in range(6)) == sorted(
        pixels(number).tobytes() for number in range(6)
    )


def test_columns_are_chosen_by_what_they_are_or_by_name(tmp_path):
    words = (["red", "blue", "red", "green"] * 3, datasets.Value("string"))
    table(kind=ANIMAL, colour=words, mask=([picture(9)] * 12, datasets.Image())).save_to_disk(tmp_path / "set")
    path = str(tmp_path / "set")
    with pytest.raises(DataError, match="has the columns image, mask") as error:
        len(HubDataset(path=path))
    assert error.value.hint == "choose one: --set data.image=image"
    data = HubDataset(path=path, image="image", label="colour")
    assert data.class_names == ("blue", "green", "red")
    assert [data[number][1] for number in range(4)] == [2, 0, 2, 1]
    assert HubDataset(path=path, image="image").class_names == ("cat", "dog")
    with pytest.raises(OptionError, match="data.label=color: column not found") as error:
        len(HubDataset(path=path, image="image", label="color"))
    assert "colour" in error.value.hint


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(OptionError, match="no path"):
        HubDataset()
    unknown = ([0, 1, -1] * 4, datasets.ClassLabel(names=["cat", "dog"]))
    table(label=unknown).save_to_disk(tmp_path / "unknown")
    with pytest.raises(DataError, match="4 of 12 examples have no class, such as 2"):
        HubDataset(path=str(tmp_path / "unknown"))[0]
    datasets.DatasetDict({"train": table()}).save_to_disk(tmp_path / "splits")
    with pytest.raises(DataError, match="has no split 'trian'") as error:
        len(HubDataset(path=str(tmp_path / "splits"), split="trian"))
    assert "train" in error.value.hint
    datasets.Dataset.from_dict({"text": ["a", "b"]}).save_to_disk(tmp_path / "text")
    with pytest.raises(DataError, match="has no column of images, but text"):
        len(HubDataset(path=str(tmp_path / "text")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: cannot be loaded: "):
        len(HubDataset(path=str(tmp_path / "empty")))
    rows = table().to_dict()
    rows["image"][3] = None
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "holes")
    with pytest.raises(DataError, match="row 3 holds no image"):
        HubDataset(path=str(tmp_path / "holes"))[3]


TINY = {
    "training.batch": 8, "training.samples": 4, "training.engine": "eager", "training.precision": "float32",
    "training.threads": 1, "generator.width": 4, "discriminator.width": 4,
}  # fmt: skip


def test_training_goes_on_exactly(folder, tmp_path):
    def train(images, out):
        return ganforge.train(
            arch="cdcgan", data="huggingface", resolution=16, images=images, device="cpu", out=tmp_path / out,
            settings={**TINY, "data.path": folder}, quiet=True,
        )  # fmt: skip

    whole, half = train(64, "whole"), train(32, "halves").resume(images=64, quiet=True)
    assert (half.path / "generator.safetensors").read_bytes() == (whole.path / "generator.safetensors").read_bytes()
    assert whole.config["data"]["path"] == folder


def test_data_that_cannot_be_reached_are_one_line(tmp_path):
    words = [sys.executable, "-m", "ganforge", "train", "--data", "huggingface", "--set", "data.path=me/nothing"]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=offline, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: me/nothing: cannot be loaded: ")
    assert done.stderr.count("\n") == 1


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(OptionError, match="needs the package datasets") as error:
        len(HubDataset(path="me/nothing"))
    assert error.value.hint == 'pip install "ganforge-huggingface[datasets]"'
