"""Whatever a file of weights, or of what is known of them, holds: it is read, or refused in one line, and cheaply."""

import json
import os
from contextlib import suppress

import pytest
import torch
from fuzzing import NUMBERS, WORDS, fuzz, guarded, require_civil
from hypothesis import example, given
from hypothesis import strategies as st

from ganforge import CheckpointError, DataSpec, GanforgeError
from ganforge.builtin.mlp import MLPGenerator
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import ARCHITECTURE, load_classifier, train_classifier
from ganforge.evaluation.results.result import Evaluation, read_rows
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, read_card, read_tensors, save_generator, save_tensors

REGISTRY = Registry.installed()

CARD = {
    "generator": {"name": "mlp", "options": {"z_dim": 4, "hidden": [8]}, "plugin": "mlp"},
    "data": {"name": "dots", "shape": [1, 4, 4], "class_names": ["a", "b"], "fingerprint": "0" * 64},
    "images": 8,
    "score": {"metric": "fd", "value": 1.5},
}
CHECKPOINT = {
    "kind": "checkpoint",
    "images": 8,
    "seconds": 1.0,
    "ticked": 8,
    "seconds_ticked": 1.0,
    "score": None,
    "fingerprint": "0" * 64,
    "generator": CARD,
}
ROW = {
    "metric": "fid",
    "value": 3.5,
    "interval": None,
    "better": "lower",
    "details": {},
    "protocol": {"extractor": "inception", "weights_sha256": "0" * 64, "num_samples": 50_000},
    "subject": {"kind": "generator", "name": "00000-x", "digest": "0" * 64, "weights": "averaged", "images_seen": 8},
    "circumstances": {"data": "dots", "seed": 0, "device": "cpu", "versions": {}, "date": "2026-01-01T00:00:00+00:00"},
    "notes": [],
}

LARGE = st.sampled_from([10**9, 10**12, 2**63, -1])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), LARGE, NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def paths(tree, above=()):
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, (dict, list)):
            yield from paths(value, (*above, key))


def changed(tree, path, value):
    """A copy of a tree with another value at a path, or without it."""
    if not path:
        return value
    key, *rest = path
    if isinstance(tree, list):
        if not rest and value is ABSENT:
            return [each for index, each in enumerate(tree) if index != key]
        return [changed(each, rest, value) if index == key else each for index, each in enumerate(tree)]
    if not isinstance(tree, dict) or not isinstance(key, str):  # another change was there before
        return tree
    if not rest and value is ABSENT:
        return {name: each for name, each in tree.items() if name != key}
    return tree if rest and key not in tree else {**tree, key: changed(tree.get(key), rest, value)}


ABSENT = object()


def mutated(tree):
    """The tree with up to three places that are not as they should be."""
    change = st.tuples(st.sampled_from(list(paths(tree))), st.one_of(VALUES, st.just(ABSENT)))

    def apply(changes):
        result = tree
        for path, value in changes:
            result = changed(result, path, value)
        return result

    return st.lists(change, min_size=1, max_size=3).map(apply)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


WEIGHTS = MLPGenerator(DataSpec((1, 4, 4)), z_dim=4, hidden=(8,)).state_dict()


def read_all(path):
    """Everything that is done with a file of weights."""
    for read in (read_card, read_tensors, lambda each: load_generator(each, REGISTRY), load_classifier):
        with guarded(), suppress(GanforgeError):
            read(path)


@fuzz(40)
@given(card=st.one_of(mutated(CARD), mutated({**CHECKPOINT})))
@example(card={**CARD, "data": {**CARD["data"], "shape": [3, 2**20, 2**20]}})
@example(card={**CARD, "data": {**CARD["data"], "shape": [2**62, 2**62]}})
@example(card={**CARD, "data": {**CARD["data"], "shape": []}})
@example(card={**CARD, "data": {**CARD["data"], "shape": [-1, 4, 4]}})
@example(card={**CARD, "generator": {"name": "mlp", "options": {"z_dim": 2**40}, "plugin": "mlp"}})
@example(card={**CARD, "generator": {"name": "mlp", "options": {"hidden": [1] * 100_000}, "plugin": "mlp"}})
@example(card={**CARD, "generator": {"name": "stylegan2", "options": {"mapping_layers": 10**9}, "plugin": "x"}})
@example(card={**CARD, "generator": {"name": "dcgan", "options": {"width": 10**9}, "plugin": "x"}, "kind": 3})
def test_cards(folder, card):
    save_tensors(folder / "card.safetensors", WEIGHTS, {"kind": "generator", **card})
    read_all(folder / "card.safetensors")


def packed(header, data=b"\0" * 4096):
    """A safetensors file with whatever header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


TENSOR = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
TEXTS = st.one_of(VALUES, mutated(CARD).map(json.dumps), st.just("[" * 100_000), st.just('{"a":' * 100_000))
HEADERS = st.dictionaries(
    st.one_of(st.sampled_from(["a", "b", "layers.0.weight"]), WORDS),
    st.one_of(mutated(TENSOR), st.just(TENSOR), VALUES),
    max_size=3,
)


@fuzz(40)
@given(header=HEADERS, text=TEXTS, data=st.integers(0, 200))
@example(header={"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 64]}}, text="{}", data=64)
@example(header={"a": {**TENSOR, "shape": [2**40, 0], "data_offsets": [0, 0]}}, text="{}", data=0)
@example(header={"a": TENSOR, "b": TENSOR}, text="{}", data=64)
def test_headers(folder, header, text, data):
    path = folder / "header.safetensors"
    path.write_bytes(packed({**header, "__metadata__": {"ganforge": text}}, b"\0" * data))
    read_all(path)


@fuzz(40)
@given(
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=3), st.integers(0, 3)), max_size=3),
    length=st.one_of(st.none(), st.integers(0, 2**64 - 1)),
    end=st.one_of(st.none(), st.integers(0, 2000)),
)
@example(changes=[], length=2**62, end=None)
@example(changes=[], length=2**64 - 1, end=None)
@example(changes=[], length=100_000_000, end=None)
def test_bytes(folder, changes, length, end):
    save_generator(folder / "whole.safetensors", WEIGHTS, CARD)
    content = (folder / "whole.safetensors").read_bytes()
    if length is not None:
        content = length.to_bytes(8, "little") + content[8:]
    for place, inserted, dropped in changes:
        content = content[:place] + inserted + content[place + dropped :]
    path = folder / "bytes.safetensors"
    path.write_bytes(content[:end])
    read_all(path)


CLASSIFIER = {
    "kind": "classifier",
    "architecture": ARCHITECTURE,
    "data": CARD["data"] | {"shape": [1, 8, 8]},
    "accuracy": 0.5,
    "num_held_out": 4,
    "seed": 0,
    "epochs": 1,
}


@pytest.fixture(scope="module")
def classifier_weights():
    images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
    data = PackedData("dots", images, torch.arange(60) % 2, ("a", "b"), "0" * 64)
    return train_classifier(data, epochs=1).network.state_dict()


@fuzz(40)
@given(card=mutated(CLASSIFIER))
@example(card={**CLASSIFIER, "data": {**CLASSIFIER["data"], "shape": [1, 10**6, 10**6]}})
@example(card={**CLASSIFIER, "data": {**CLASSIFIER["data"], "shape": [1, 8]}})
def test_cards_of_classifiers(folder, classifier_weights, card):
    path = folder / "classifier.safetensors"
    save_tensors(path, classifier_weights, card)
    with guarded(), suppress(GanforgeError):
        load_classifier(path)


@fuzz(40)
@given(rows=st.lists(st.one_of(mutated(ROW), VALUES), max_size=3), end=st.sampled_from(["\n", "", "\n\n", "\nx"]))
def test_evaluations(folder, rows, end):
    path = folder / "evaluations.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + end)
    with guarded(), suppress(CheckpointError):
        for row in read_rows(path):
            assert isinstance(row, Evaluation)
            json.dumps(row.to_json())


@fuzz(8)
@given(rows=st.lists(mutated(ROW), min_size=2, max_size=2), as_json=st.booleans())
def test_comparing_evaluations(folder, rows, as_json):
    for name, row in zip(("one", "two"), rows, strict=True):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "evaluations.jsonl").write_text(json.dumps(row) + "\n")
    files = [str(folder / name / "evaluations.jsonl") for name in ("one", "two")]
    require_civil("eval", "compare", *files, *["--json"] * as_json)


@pytest.fixture(params=["pipe", "folder", "endless", "sparse", "absent"])
def strange(tmp_path, request):
    """Content that is no valid file."""
    path = tmp_path / "strange.safetensors"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "endless":
        path.symlink_to("/dev/zero")
    elif request.param == "sparse":
        with path.open("wb") as file:
            file.truncate(1 << 40)
    return path


def test_what_is_no_file_is_refused_at_once(strange):
    with guarded():
        for read in (read_card, read_tensors, load_generator, load_classifier):
            with pytest.raises(CheckpointError):
                read(strange)
