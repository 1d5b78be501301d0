"""The weights of Inception are found, checked and read."""

import hashlib
import io
import os
import pickle
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError
from ganforge.core.cache import cache_folder
from ganforge.evaluation.extractors import inception
from ganforge.evaluation.extractors.inception import InceptionExtractor, find_weights

SPEC = DataSpec((3, 24, 24))


def load(path):
    return InceptionExtractor(SPEC, weights=str(path))


@pytest.fixture(autouse=True, scope="module")
def home(offline_home):
    return offline_home


def saved(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.pth", b"<!DOCTYPE html><html>Not Found</html>"),
        ("page.safetensors", b"<!DOCTYPE html><html>Not Found</html>"),
        ("empty.pth", b""),
        ("empty.safetensors", b""),
        ("list.pth", saved([1, 2, 3])),
        ("wrapped.pth", saved({"state_dict": {"weight": torch.zeros(2)}})),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name) as caught:
        load(tmp_path / name)
    assert inception.FILE_NAME in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.fixture
def torch_file(tmp_path, monkeypatch):
    """Weights of a stand-in, in PyTorch's format."""
    monkeypatch.setattr(inception, "Inception", Kept)
    monkeypatch.setattr(inception, "quicken", lambda network: True)
    torch.save({"a": torch.arange(500.0), "b": torch.ones(3, 2)}, tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


class Kept(nn.Module):
    def __init__(self, state, clean=False):
        super().__init__()
        self.state = state


def test_a_truncated_file_is_named(torch_file, tmp_path):
    safetensors.torch.save_file(load(torch_file).network.state, tmp_path / "weights.safetensors")
    for path in (torch_file, tmp_path / "weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match=path.name):
            load(path)


def test_a_pytorch_file_is_unpickled_once_and_found_again_by_its_content(torch_file, tmp_path, monkeypatch):
    calls, read, moved = [], torch.load, tmp_path / "moved.pth"
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: calls.append(args) or read(*args, **kwargs))
    first = load(torch_file)
    torch_file.rename(moved)
    again = load(moved)
    assert len(calls) == 1
    assert again.weights_sha256 == first.weights_sha256 == hashlib.sha256(moved.read_bytes()).hexdigest()
    (kept,) = (cache_folder() / "weights").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1000])
    whole = load(moved)
    assert len(calls) == 2
    for each in (first, again, whole):
        assert all(torch.equal(each.network.state[name], read(moved)[name]) for name in ("a", "b"))
    monkeypatch.setenv("GANFORGE_CACHE", str(moved / "nowhere"))
    assert load(moved).weights_sha256 == first.weights_sha256


@pytest.mark.parametrize("name", ["other.pth", "other.safetensors"])
def test_weights_of_another_network_are_told_with_what_was_expected(name, tmp_path):
    state = nn.Linear(2, 2).state_dict()
    (tmp_path / name).write_bytes(saved(state) if name == "other.pth" else safetensors.torch.save(state))
    with pytest.raises(CheckpointError, match="of another network") as caught:
        load(tmp_path / name)
    assert inception.FILE_NAME in caught.value.hint
    assert "\n" not in str(caught.value)


def test_torchscript_is_refused_without_a_warning(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    with pytest.raises(CheckpointError, match=r"script\.pth"):
        load(tmp_path / "script.pth")


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_not_run(zipped, tmp_path):
    mark, path = tmp_path / "it-ran", tmp_path / "evil.pth"
    path.write_bytes(saved({"fc.bias": Malice(str(mark))}) if zipped else pickle.dumps(Malice(str(mark))))
    torch.load(path, weights_only=False) if zipped else pickle.loads(path.read_bytes())
    mark.rmdir()  # so the file does harm where it is trusted
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"evil\.pth"):
            load(path)
    assert not mark.exists()


def cached_in(folder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder / "hub" / "checkpoints" / inception.FILE_NAME


def test_weights_are_looked_for_in_the_order_of_option_variable_and_cache(tmp_path, monkeypatch):
    option, variable, cache = tmp_path / "a", tmp_path / "b", cached_in(tmp_path, monkeypatch)
    cache.parent.mkdir(parents=True)
    for path in (option, variable, cache):
        path.touch()
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(b"").hexdigest())
    assert find_weights(None) == cache
    monkeypatch.setenv(inception.VARIABLE, str(variable))
    assert find_weights(None) == variable
    assert find_weights(option) == option


def test_a_named_file_that_is_not_there_is_an_error_that_says_who_named_it(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"--inception-weights: file .*gone.* not found"):
        find_weights(tmp_path / "gone")
    monkeypatch.setenv(inception.VARIABLE, str(tmp_path / "lost"))
    with pytest.raises(CheckpointError, match=rf"\${inception.VARIABLE}: file .*lost.* not found"):
        find_weights(None)


def test_another_file_in_the_place_of_the_published_one_is_refused(tmp_path, monkeypatch):
    cache = cached_in(tmp_path, monkeypatch)
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"half a downl")
    with pytest.raises(CheckpointError, match="is another file, of SHA-256 .* remove it") as caught:
        InceptionExtractor(SPEC)
    assert str(cache) in str(caught.value)


def test_without_weights_and_network_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    cache = cached_in(tmp_path, monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        InceptionExtractor(SPEC)
    line = str(caught.value)
    assert "\n" not in line
    for part in (inception.FILE_NAME, "91 MiB", "6726825d", inception.URL, str(cache), "--inception-weights FILE"):
        assert part in line


def test_weights_are_downloaded_to_the_cache_only_if_their_hash_is_right(tmp_path, monkeypatch):
    cache = cached_in(tmp_path, monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_args, **_kwargs: io.BytesIO(b"weights"))
    with pytest.raises(CheckpointError, match="is another file, of SHA-256"):
        find_weights(None)
    assert list(Path(tmp_path).rglob("*")) == []
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(b"weights").hexdigest())
    assert find_weights(None) == cache
    assert cache.read_bytes() == b"weights"
