import hashlib
import io
import json
import os
import pickle
import urllib.error
import urllib.request
import warnings
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import Dataset

from ganforge.errors import CheckpointError, DataError, OptionError
from ganforge.evaluation import FidResult, Provenance, evaluate_fid, fid, weights
from ganforge.evaluation.fid import extract_features
from ganforge.evaluation.statistics import Moments, frechet_distance
from ganforge.evaluation.weights import Extractor, InceptionFeatures, find_weights, load_inception
from ganforge.images import to_float

CPU = torch.device("cpu")
RECORD = {"data_fingerprint": "data-1", "generator_fingerprint": "generator-2", "seed": 7, "truncation": 0.7}


def offline(*_args, **_kwargs):
    raise urllib.error.URLError("no route to host")


@pytest.fixture(autouse=True, scope="module")
def home(tmp_path_factory):
    """An empty home without a network, in which every test of this file runs."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HOME", "XDG_CACHE_HOME", "TORCH_HOME"):
            patch.setenv(name, str(folder))
        patch.delenv(weights.VARIABLE, raising=False)
        patch.setattr(urllib.request, "urlopen", offline)
        yield folder


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """torch-fidelity's Inception with random weights that keep features at about 1."""
    from torch_fidelity import FeatureExtractorInceptionV3

    class Blank(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_args):
            """Keep what the constructor drew."""

    nothing = tmp_path_factory.mktemp("nothing") / "nothing.pth"
    torch.save({}, nothing)
    module = Blank("blank", ["2048"], feature_extractor_weights_path=str(nothing))
    source = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.dim() >= 2:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=source)
        elif name.endswith(("bn.weight", "running_var")):
            tensor.uniform_(0.7, 1.3, generator=source)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.1, generator=source)
    return module


@pytest.fixture(scope="module")
def safe_file(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def torch_file(network, tmp_path_factory):
    # The published file is older than PyTorch's zip format.
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=False)
    return path


def draw(count, seed, channels=3, size=24):
    """Images of a colour ramp, two boxes and some noise."""
    source = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, size) * torch.linspace(0.5, 1, size)[:, None]
    images = torch.rand(count, channels, 1, 1, generator=source) * ramp + torch.rand(count, 1, 1, 1, generator=source)
    for image in images:
        for _ in range(2):
            top, left = torch.randint(0, size - 6, (2,), generator=source).tolist()
            image[:, top : top + 6, left : left + 9] = torch.rand(channels, 1, 1, generator=source)
    images += 0.1 * torch.randn(images.shape, generator=source)
    return (images * 127).clamp(0, 255).to(torch.uint8)


REALS, FAKES = draw(40, seed=1), 255 - draw(48, seed=2) // 2
FEW_REALS, FEW_FAKES = REALS[:3], FAKES[:4]


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def result(safe_file, steps):
    return evaluate_fid(
        REALS, FAKES, weights=safe_file, device=CPU, batch=16, progress=lambda *step: steps.append(step), **RECORD
    )


@pytest.fixture(scope="module")
def features(network):
    """Features of both sets by the plain module, one image at a time."""
    with torch.no_grad():
        return [torch.cat([network(image[None])[0] for image in images]) for images in (REALS, FAKES)]


@pytest.fixture(scope="module")
def small_result(torch_file):
    return evaluate_fid(FEW_REALS, FEW_FAKES, weights=torch_file, device=CPU, **RECORD)


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


def test_fid_equals_the_frechet_distance_computed_independently_in_float64(result, features):
    real, fake = (side.double() for side in features)
    shift = real.mean(0) - fake.mean(0)
    real, fake = ((side - side.mean(0)) / (len(side) - 1) ** 0.5 for side in (real, fake))
    # With covariances A^T A and B^T B, the trace of the root of their product is the sum of A B^T's singular values.
    expected = (
        shift.square().sum() + real.square().sum() + fake.square().sum() - 2 * torch.linalg.svdvals(real @ fake.T).sum()
    )
    assert result.value == pytest.approx(expected.item(), rel=1e-3)
    assert result.value > 1


def test_fid_equals_what_torch_fidelity_computes_by_itself(small_result, torch_file):
    import torch_fidelity

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = torch_fidelity.calculate_metrics(
            input1=Images(FEW_REALS),
            input2=Images(FEW_FAKES),
            fid=True,
            cuda=False,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
            feature_extractor_weights_path=str(torch_file),
        )
    assert small_result.value == pytest.approx(metrics["frechet_inception_distance"], rel=1e-4)


def test_fid_does_not_mind_which_set_comes_first(result, features):
    real, fake = features
    assert frechet_distance(Moments.of(fake), Moments.of(real)) == pytest.approx(result.value, rel=1e-4)


def test_fid_of_a_set_with_itself_is_zero_and_nothing_is_printed(small_result, safe_file, capfd):
    same = evaluate_fid(FEW_REALS, FEW_REALS, weights=safe_file, device=CPU, **RECORD)
    assert same.value == pytest.approx(0, abs=1e-4 * small_result.value)
    assert capfd.readouterr() == ("", "")


def test_other_weights_have_another_hash_and_give_another_value(small_result, network, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["Conv2d_1a_3x3.conv.weight"] *= -1
    torch.save(state, tmp_path / "other.pth")
    other = evaluate_fid(FEW_REALS, FEW_FAKES, weights=tmp_path / "other.pth", device=CPU, **RECORD)
    assert other.provenance.weights_sha256 != small_result.provenance.weights_sha256
    assert other.value != pytest.approx(small_result.value, rel=1e-2)


def test_both_formats_of_weights_give_the_same_features_as_the_plain_module(features, safe_file, torch_file):
    for path in (safe_file, torch_file):
        extractor = load_inception(path)
        found = extract_features(extractor, FEW_REALS, device=CPU, batch=2, progress=lambda _: None)
        torch.testing.assert_close(found, features[0][:3], rtol=1e-4, atol=1e-5)
        assert found.dtype == torch.float32


def test_grey_images_have_the_features_of_their_three_channel_repeats(safe_file):
    grey, extractor = draw(2, seed=3, channels=1), load_inception(safe_file)
    one, three = (
        extract_features(extractor, images, device=CPU, batch=2, progress=lambda _: None)
        for images in (grey, grey.repeat(1, 3, 1, 1))
    )
    assert torch.equal(one, three)


def test_images_that_are_not_rounded_have_the_features_of_fid_where_they_are_whole_numbers(safe_file):
    extractor, images = load_inception(safe_file), draw(2, seed=5)
    expected = extract_features(extractor, images, device=CPU, batch=2, progress=lambda _: None)
    look = InceptionFeatures(extractor)
    with torch.no_grad():
        found, moved = look(to_float(images)), look(to_float(images) + 1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(moved, found)  # by less than a hundredth of a level
    assert not extractor.network.Conv2d_1a_3x3._forward_pre_hooks


class Probe(nn.Module):
    """A stand-in for the extractor: averages channels, and notes what it runs under."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 5)
        self.precisions = set()

    def forward(self, images):
        self.precisions.add(torch.backends.cudnn.conv.fp32_precision)
        return (self.linear(images.float().mean((2, 3))),)


def probe():
    return Extractor(name="probe", network=Probe(), weights_sha256="", is_published=True, resize="none")


def test_features_are_full_float32_inside_autocast_and_where_tf32_is_allowed():
    extractor, images, before = probe(), draw(5, seed=4), torch.backends.cudnn.conv.fp32_precision
    plain = extract_features(extractor, images, device=CPU, batch=5, progress=lambda _: None)
    with torch.autocast("cpu", torch.bfloat16):
        inside = extract_features(extractor, images, device=CPU, batch=2, progress=lambda _: None)
    torch.testing.assert_close(inside, plain, rtol=1e-6, atol=1e-6)
    assert extractor.network.precisions == {"ieee"}
    assert torch.backends.cudnn.conv.fp32_precision == before


def test_progress_counts_the_images_of_both_sets(result, steps):
    assert steps == [(done, 88) for done in (16, 32, 40, 56, 72, 88)]


def test_the_result_tells_all_and_survives_json(result, safe_file):
    told = json.loads(result.to_json())
    provenance = Provenance(**told.pop("provenance"))
    assert FidResult(**{**told, "notes": tuple(told["notes"])}, provenance=provenance) == result
    assert result.metric == "fid"
    assert (provenance.num_real, provenance.num_fake) == (40, 48)
    assert (provenance.resolution, provenance.channels) == ("24x24", 3)
    assert {name: asdict(provenance)[name] for name in RECORD} == RECORD
    assert provenance.extractor == "inception-v3-compat"
    assert provenance.weights_sha256 == hashlib.sha256(safe_file.read_bytes()).hexdigest()
    assert provenance.resize == "TF1 bilinear to 299, no antialias, as in torch-fidelity"
    assert provenance.versions.keys() == {"ganforge", "torch", "torchvision", "torch-fidelity"}
    assert provenance.versions["torch"] == torch.__version__
    assert provenance.device == "cpu"
    assert provenance.dtype == "float32 features, float64 statistics"
    date = datetime.fromisoformat(provenance.date)
    assert date.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - date) < timedelta(hours=1)


def test_few_images_and_unpublished_weights_are_noted(result):
    few, unpublished = result.notes
    assert "fewer than 10,000 images" in few
    assert "equal numbers" in few
    assert unpublished == "these are not the published Inception weights: the value is no FID that can be compared"


def test_published_weights_and_enough_images_need_no_note(safe_file, monkeypatch):
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(safe_file.read_bytes()).hexdigest())
    monkeypatch.setattr(fid, "load_inception", lambda path: probe() if load_inception(path).is_published else None)
    many = torch.zeros(10_000, 1, 1, 1, dtype=torch.uint8)
    many[::2] = 9
    assert evaluate_fid(many, many, weights=safe_file, device=CPU, batch=10_000, **RECORD).notes == ()


def test_nothing_is_cached(result, small_result, home):
    assert list(home.rglob("*")) == []


@pytest.mark.parametrize(
    ("reals", "fakes", "said"),
    [
        (REALS.float(), FAKES, "real images are torch.float32"),
        (REALS, FAKES[0], r"generated images are torch.uint8 \[3, 24, 24\]"),
        (REALS[:, :2], FAKES[:, :2], r"real images are torch.uint8 \[40, 2, 24, 24\]"),
        (REALS, FAKES[:1], "there is 1 generated image"),
        (REALS, FAKES[:, :1], "24x24 with 3 channels, generated ones 24x24 with 1 channel"),
        (REALS, FAKES[:, :, :20], "real images are 24x24 .* generated ones 20x24"),
    ],
)
def test_images_that_do_not_fit_are_refused(reals, fakes, said):
    with pytest.raises(DataError, match=said):
        evaluate_fid(reals, fakes, weights=None, device=CPU, **RECORD)


def test_a_batch_of_none_is_refused():
    with pytest.raises(OptionError, match="batch is 0"):
        evaluate_fid(REALS, FAKES, weights=None, device=CPU, batch=0, **RECORD)


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
        ("other.pth", saved(nn.Linear(2, 2).state_dict())),
        ("other.safetensors", safetensors.torch.save(nn.Linear(2, 2).state_dict())),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name) as caught:
        evaluate_fid(FEW_REALS, FEW_FAKES, weights=tmp_path / name, device=CPU, **RECORD)
    assert weights.FILE_NAME in caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(safe_file, torch_file, tmp_path):
    for path in (safe_file, torch_file):
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match=path.name):
            load_inception(cut)


def test_torchscript_is_refused_without_a_warning(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / "script.pth"))
    with pytest.raises(CheckpointError, match=r"script\.pth"):
        load_inception(tmp_path / "script.pth")


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
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        load_inception(path)
    assert not mark.exists()


def test_weights_that_give_no_finite_features_are_refused(network, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["Conv2d_1a_3x3.conv.weight"][0] = float("nan")
    safetensors.torch.save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        evaluate_fid(REALS[:2], FAKES[:2], weights=tmp_path / "nan.safetensors", device=CPU, **RECORD)


def cached_in(folder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder / "hub" / "checkpoints" / weights.FILE_NAME


def test_weights_are_looked_for_in_the_order_of_option_variable_and_cache(tmp_path, monkeypatch):
    option, variable, cache = tmp_path / "a", tmp_path / "b", cached_in(tmp_path, monkeypatch)
    cache.parent.mkdir(parents=True)
    for path in (option, variable, cache):
        path.touch()
    assert find_weights(None) == cache
    monkeypatch.setenv(weights.VARIABLE, str(variable))
    assert find_weights(None) == variable
    assert find_weights(option) == option


def test_a_named_file_that_is_not_there_is_an_error_that_says_who_named_it(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match=r"--inception-weights: there is no file .*gone"):
        find_weights(tmp_path / "gone")
    monkeypatch.setenv(weights.VARIABLE, str(tmp_path / "lost"))
    with pytest.raises(CheckpointError, match=rf"\${weights.VARIABLE}: there is no file .*lost"):
        find_weights(None)


def test_without_weights_and_network_one_line_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    cache = cached_in(tmp_path, monkeypatch)
    with pytest.raises(CheckpointError) as caught:
        evaluate_fid(FEW_REALS, FEW_FAKES, weights=None, device=CPU, **RECORD)
    line = str(caught.value)
    assert "\n" not in line
    for part in (weights.FILE_NAME, "91 MiB", "SHA-256 6726825d", weights.URL, str(cache), "--inception-weights FILE"):
        assert part in line


def test_weights_are_downloaded_to_the_cache_only_if_their_hash_is_right(tmp_path, monkeypatch):
    cache = cached_in(tmp_path, monkeypatch)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_args, **_kwargs: io.BytesIO(b"weights"))
    with pytest.raises(CheckpointError, match="gave another file"):
        find_weights(None)
    assert list(Path(tmp_path).rglob("*")) == []
    monkeypatch.setattr(weights, "SHA256", hashlib.sha256(b"weights").hexdigest())
    assert find_weights(None) == cache
    assert cache.read_bytes() == b"weights"
