"""A packed folder is complete or absent, and the message on a damaged one names the damage."""

import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from ganforge.contract.errors import DataError
from ganforge.data import PackedData
from ganforge.data.labels import LabelTable
from ganforge.data.store import fingerprint
from ganforge.data.writing import ArrayWriter, new_folder


def make(examples=None, labels=(1, 0, 1), class_names=("cat", "dog")):
    examples = np.random.default_rng(0).integers(0, 256, (3, 3, 4, 5), np.uint8) if examples is None else examples
    numbers = np.array(labels, np.int64) if labels else None
    digest = hashlib.sha256(examples.tobytes()).hexdigest()
    return PackedData(
        "pets",
        torch.from_numpy(examples),
        None if numbers is None else torch.from_numpy(numbers),
        class_names,
        fingerprint(digest, examples.shape, examples.dtype.name, LabelTable(numbers, tuple(class_names))),
        {"source": "here"},
    )


@pytest.fixture
def folder(tmp_path):
    make().save(tmp_path / "pets")
    return tmp_path / "pets"


@pytest.mark.parametrize(
    "data",
    [
        make(),
        make(labels=(), class_names=()),
        make(np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)),
        make(np.zeros((3, 1, 2, 2), np.uint8)),
    ],
    ids=["images", "unlabelled", "vectors", "grey"],
)
def test_what_is_loaded_is_what_was_saved(tmp_path, data):
    data.save(tmp_path / "a")
    loaded = PackedData.load(tmp_path / "a")
    assert torch.equal(loaded.examples, data.examples)
    assert loaded.examples.dtype == data.examples.dtype
    assert (loaded.labels is None) == (data.labels is None)
    assert data.labels is None or torch.equal(loaded.labels, data.labels)
    assert (loaded.name, loaded.class_names, loaded.origin) == (data.name, data.class_names, data.origin)
    assert loaded.fingerprint == data.fingerprint
    assert loaded.is_intact()
    assert loaded.spec.shape == tuple(data.examples.shape[1:])
    assert loaded.spec.num_classes == len(data.class_names)
    assert len(loaded) == 3


def test_arrays_are_saved_in_pieces_that_join(tmp_path, monkeypatch):
    monkeypatch.setattr("ganforge.data.store._CHUNK_BYTES", 120)
    data = make(np.random.default_rng(1).integers(0, 256, (11, 3, 4, 5), np.uint8), labels=[0] * 11)
    data.save(tmp_path / "a")
    assert np.array_equal(np.load(tmp_path / "a" / "examples.npy"), data.examples)
    assert PackedData.load(tmp_path / "a").is_intact()


def test_writing_to_what_was_loaded_does_not_reach_the_file(folder):
    loaded = PackedData.load(folder)
    before = loaded.examples.clone()
    loaded.examples.zero_()
    assert torch.equal(PackedData.load(folder).examples, before)


def test_a_flipped_bit_is_found(folder):
    content = bytearray((folder / "examples.npy").read_bytes())
    content[-1] ^= 1
    (folder / "examples.npy").write_bytes(content)
    assert not PackedData.load(folder).is_intact()


def rewrite(folder, **changes):
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    (folder / "manifest.json").write_text(
        json.dumps({key: value for key, value in manifest.items() if value != "gone"})
    )


DAMAGES = {
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), r"it has no manifest\.json"),
    "no examples": (lambda folder: (folder / "examples.npy").unlink(), r"it has no examples\.npy"),
    "no labels": (lambda folder: (folder / "labels.npy").unlink(), r"it has no labels\.npy"),
    "cut examples": (lambda folder: os.truncate(folder / "examples.npy", 150), r"examples\.npy is .*truncated"),
    "empty examples": (lambda folder: os.truncate(folder / "examples.npy", 0), r"examples\.npy is .*truncated"),
    "cut labels": (lambda folder: os.truncate(folder / "labels.npy", 140), r"labels\.npy is damaged or truncated"),
    "pickled examples": (
        lambda folder: (folder / "examples.npy").write_bytes(pickle.dumps([1])),
        r"examples\.npy is damaged",
    ),
    "other shape": (
        lambda folder: np.save(folder / "examples.npy", np.zeros((3, 3, 4, 4), np.uint8)),
        r"examples\.npy does not match its manifest",
    ),
    "other dtype": (
        lambda folder: np.save(folder / "labels.npy", np.zeros(3, np.int32)),
        r"labels\.npy does not match its manifest",
    ),
    "labels out of range": (
        lambda folder: np.save(folder / "labels.npy", np.array([0, 2, 1])),
        r"labels\.npy ranges from 0 to 2, with 2 classes",
    ),
    "negative labels": (lambda folder: np.save(folder / "labels.npy", np.array([0, -1, 1])), "ranges from -1 to 1"),
    "cut manifest": (lambda folder: os.truncate(folder / "manifest.json", 30), r"manifest\.json cannot be read"),
    "binary manifest": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"), "cannot be read"),
    "foreign manifest": (lambda folder: (folder / "manifest.json").write_text("[]"), "was not written by ganforge"),
    "other program": (lambda folder: rewrite(folder, format="webpack"), "was not written by ganforge"),
    "newer format": (lambda folder: rewrite(folder, format="ganforge-data-99"), "ganforge-data-99"),
    "missing key": (lambda folder: rewrite(folder, fingerprint="gone"), "missing required field fingerprint"),
    "wrong type": (lambda folder: rewrite(folder, class_names="cat"), "class_names: expected array, got str"),
    "wrong names": (lambda folder: rewrite(folder, class_names=[1, 2]), r"class_names\[0\]: expected str, got int"),
    "wrong shape": (lambda folder: rewrite(folder, shape=[3, "x"]), r"shape\[1\]: expected int, got str"),
    "no shape": (lambda folder: rewrite(folder, shape=[]), "neither of images nor of signals or vectors"),
    "empty shape": (lambda folder: rewrite(folder, shape=[0, 3, 4, 5]), r"shape\[0\]: expected int >= 1"),
    "wrong dtype": (lambda folder: rewrite(folder, dtype="object"), "dtype: invalid enum value 'object'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_says_what_is_wrong(folder, damage):
    change, reason = DAMAGES[damage]
    change(folder)
    with pytest.raises(DataError, match=reason) as error:
        PackedData.load(folder)
    assert error.value.hint


def test_a_folder_that_is_taken_is_left_alone(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.txt").write_text("precious")
    with pytest.raises(DataError, match="already exists"):
        make().save(tmp_path / "a")
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "mine.txt"]
    with pytest.raises(DataError, match="already exists"):
        make().save(tmp_path / "a" / "mine.txt")


def test_a_folder_that_is_taken_is_refused_before_the_work(tmp_path):
    (tmp_path / "a").write_text("in the way")
    with pytest.raises(DataError, match="already exists"), new_folder(tmp_path / "a"):
        pytest.fail("worked in vain")


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "a").mkdir()
    make().save(tmp_path / "a")
    assert PackedData.load(tmp_path / "a").is_intact()


def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch):
    def full(self, rows):
        raise OSError("disk full")

    monkeypatch.setattr(ArrayWriter, "append", full)
    with pytest.raises(OSError, match="disk full"):
        make().save(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_writing_leaves_nothing_that_loads(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from ganforge.data.writing import new_folder
with new_folder(Path({str(tmp_path / "a")!r})) as partial:
    (partial / "examples.npy").write_bytes(b"half of it")
    print("ready", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGKILL)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".a.")
    assert not (tmp_path / "a").exists()
    make().save(tmp_path / "a")
    assert [each.name for each in tmp_path.iterdir()] == ["a"]
    assert PackedData.load(tmp_path / "a").is_intact()


def test_the_fingerprint_is_sha256_of_a_plain_description():
    data = make()
    content = {
        "class_names": ["cat", "dog"],
        "dtype": "uint8",
        "examples": hashlib.sha256(data.examples.numpy().tobytes()).hexdigest(),
        "labels": hashlib.sha256(np.array([1, 0, 1], "<i8").tobytes()).hexdigest(),
        "shape": [3, 3, 4, 5],
    }
    assert data.fingerprint == hashlib.sha256(json.dumps(content).encode()).hexdigest()


def test_the_same_bytes_in_another_shape_are_other_data():
    examples = np.arange(60, dtype=np.uint8)
    shapes = [(3, 1, 4, 5), (3, 1, 5, 4), (3, 4, 1, 5), (1, 3, 4, 5)]
    assert len({make(examples.reshape(shape), labels=(), class_names=()).fingerprint for shape in shapes}) == 4
