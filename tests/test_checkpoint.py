import json
import os
import pickle

import pytest
import safetensors.torch
import torch

import ganforge
from ganforge import CheckpointError, DataSpec, GanforgeError, OptionError
from ganforge.builtin.mlp import MLPGenerator
from ganforge.runs.checkpoint import load_generator, read_tensors, save_generator, save_tensors

CARD = {
    "generator": {"name": "mlp", "options": {"z_dim": 4, "hidden": [8]}, "plugin": "mlp"},
    "data": {"shape": [1, 4, 4], "class_names": []},
}


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return MLPGenerator(DataSpec((1, 4, 4)), z_dim=4, hidden=(8,)).eval()


@pytest.fixture
def path(tmp_path, generator):
    save_generator(tmp_path / "generator.safetensors", generator.state_dict(), CARD)
    return tmp_path / "generator.safetensors"


def test_a_generator_comes_back_from_its_file_alone(path, generator):
    z = torch.randn(3, 4)
    for given in (path, str(path), path.parent):
        again = ganforge.load(given)
        assert not again.training
        assert torch.equal(again(z), generator(z))


def test_equal_content_gives_equal_bytes(path, generator, tmp_path):
    save_generator(tmp_path / "again.safetensors", generator.state_dict(), dict(reversed(CARD.items())))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_a_flipped_bit_is_noticed(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="does not match its digest"):
        load_generator(path)


def test_a_flipped_bit_in_the_card_is_noticed(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"hidden\\": [8]', b'\\"hidden\\": [9]'))
    assert path.read_bytes() != content
    with pytest.raises(CheckpointError, match="its card does not match its digest"):
        load_generator(path)


def test_a_file_from_before_cards_had_a_digest_is_read(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"card_digest", b"other_thing"))
    assert path.read_bytes() != content
    assert ganforge.load(path).z_dim == 4


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>404</html>", b"\xff" * 64, (1 << 62).to_bytes(8, "little") + b"{}", pickle.dumps({"a": 1})],
    ids=["empty", "html", "noise", "huge header", "pickle"],
)
def test_what_is_no_safetensors_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_generator(path)


def test_a_file_cut_short_by_one_byte_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_generator(path)


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        ({"name": "mlp", "options": {"z_dim": 4, "hidden": [10**9]}}, [1, 4, 4]),
        ({"name": "mlp", "options": {"z_dim": 10**12, "hidden": [8]}}, [1, 4, 4]),
        ({"name": "mlp", "options": {"z_dim": 4, "hidden": [20_000, 20_000]}}, [1, 4, 4]),
        ({"name": "mlp", "options": {"z_dim": 4, "hidden": [8]}}, [3, 100_000, 100_000]),
        ({"name": "dcgan", "options": {"width": 10_000, "max_width": 10_000}}, [3, 64, 64]),
        ({"name": "mlp", "options": {"z_dim": 4, "hidden": [1000] * 1000}}, [1, 4, 4]),
    ],
)
def test_a_small_file_makes_no_large_network(tmp_path, generator, part, shape):
    card = {"generator": {**part, "plugin": "x"}, "data": {"shape": shape, "class_names": []}}
    save_generator(tmp_path / "bomb.safetensors", generator.state_dict(), card)
    with pytest.raises(OptionError, match="takes more than .* of memory"):
        load_generator(tmp_path / "bomb.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generator": 3}, "generator: expected object, got int"),
        (
            {"generator": {"name": "mlp", "options": [], "plugin": "mlp"}},
            "generator.options: expected object, got array",
        ),
        ({"data": {"shape": "large", "class_names": []}}, "data.shape: expected array, got str"),
        ({"data": {"shape": [1, 0, 4], "class_names": []}}, r"data.shape\[1\]: expected int >= 1"),
        ({"data": {"shape": [1, True, 4], "class_names": []}}, r"data.shape\[1\]: expected int, got bool"),
        ({"data": {"shape": [4], "class_names": [3]}}, r"data.class_names\[0\]: expected str, got int"),
        ({"images": "many"}, r"images: expected int \| null, got str"),
        ({"score": {"metric": "fd"}}, "score: object missing required field value"),
    ],
)
def test_a_card_of_another_form_is_refused(tmp_path, generator, change, message):
    save_generator(tmp_path / "odd.safetensors", generator.state_dict(), {**CARD, **change})
    with pytest.raises(CheckpointError, match=message):
        load_generator(tmp_path / "odd.safetensors")


def test_a_card_that_is_nested_without_end_is_refused(tmp_path):
    file = tmp_path / "deep.safetensors"
    for text in ("[" * 100_000, '{"format": 1, "x": ' + "[" * 300 + "]" * 300 + "}"):
        safetensors.torch.save_file({"x": torch.zeros(2)}, file, metadata={"ganforge": text})
        with pytest.raises(CheckpointError, match="was not written by ganforge"):
            load_generator(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.safetensors: no such file"):
        load_generator(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("metadata", [None, {"ganforge": "not json"}, {"ganforge": "[1]"}, {"other": "{}"}])
def test_somebody_elses_safetensors_file_is_refused(tmp_path, metadata):
    file = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, file, metadata=metadata)
    with pytest.raises(CheckpointError, match="was not written by ganforge"):
        load_generator(file)


def test_a_newer_format_says_to_upgrade(tmp_path):
    file = tmp_path / "newer.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, file, metadata={"ganforge": json.dumps({"format": 99})})
    with pytest.raises(CheckpointError, match="format 99.*upgrade"):
        load_generator(file)


def test_weights_of_another_shape_are_refused_in_one_line(tmp_path, generator):
    card = {**CARD, "generator": {**CARD["generator"], "options": {"z_dim": 4, "hidden": [9]}}}
    save_generator(tmp_path / "other.safetensors", generator.state_dict(), card)
    with pytest.raises(CheckpointError, match="do not fit generator 'mlp'") as error:
        load_generator(tmp_path / "other.safetensors")
    assert "\n" not in str(error.value)


def test_an_architecture_that_is_not_installed_names_its_plugin(tmp_path, generator):
    card = {**CARD, "generator": {"name": "biggan", "options": {}, "plugin": "acme-biggan"}}
    save_generator(tmp_path / "other.safetensors", generator.state_dict(), card)
    with pytest.raises(OptionError, match="unknown generator 'biggan'.*plugin 'acme-biggan'"):
        load_generator(tmp_path / "other.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_in_one_line(tmp_path, generator, value, run):
    weights = generator.state_dict()
    name = [*weights][-1]
    weights[name].view(-1)[0] = value
    save_generator(tmp_path / "generator.safetensors", weights, CARD)
    with pytest.raises(
        CheckpointError, match=rf"not finite \(NaN or infinite\) in 1 of {len(weights)} tensors, .*{name}"
    ):
        load_generator(tmp_path / "generator.safetensors")
    code, _, err = run("sample", tmp_path / "generator.safetensors")
    assert (code, [line for line in err.splitlines() if "not finite" in line]) == (2, err.splitlines())
    assert not (tmp_path / "samples.png").exists()


def test_a_checkpoint_is_not_taken_for_a_generator(tmp_path):
    save_tensors(tmp_path / "state.safetensors", {"x": torch.zeros(1)}, {"kind": "checkpoint"})
    with pytest.raises(CheckpointError, match="not a generator but a checkpoint"):
        load_generator(tmp_path / "state.safetensors")


def test_a_failed_write_leaves_the_old_file_and_no_other(path, generator, monkeypatch):
    before = path.read_bytes()

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(GanforgeError, match="No space left on device"):
        save_generator(path, generator.state_dict(), {**CARD, "images": 1})
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_every_type_of_tensor_survives(tmp_path):
    tensors = {
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "scalar": torch.tensor(5),
        "empty": torch.zeros(0, 3),
        "strided": torch.randn(4, 6).T,
        "truth": torch.tensor([True, False]),
    }
    save_tensors(tmp_path / "all.safetensors", tensors, {"kind": "test"})
    again, _ = read_tensors(tmp_path / "all.safetensors")
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in again.items()} == {
        name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()
    }
    assert all(torch.equal(again[name], tensors[name]) for name in tensors)
