"""FID by torch-fidelity's Inception, with random weights; and how its weights are found, checked and read."""

import hashlib
import warnings

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.utils.data import Dataset

from ganforge.builtin.metrics import METRICS
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.core.images import to_float
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors import inception
from ganforge.evaluation.extractors.inception import InceptionExtractor, InceptionFeatures
from ganforge.evaluation.features import extract
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference, name_metric
from ganforge.evaluation.statistics import Moments, frechet_distance, inception_score
from ganforge.evaluation.subjects.image_sets import DataImages
from ganforge.evaluation.subjects.subject import ImagesSubject

CPU = torch.device("cpu")
SPEC = DataSpec((3, 24, 24))


@pytest.fixture(autouse=True, scope="module")
def home(offline_home):
    return offline_home


@pytest.fixture(scope="module")
def network(random_inception):
    return random_inception


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
    """Images of a color ramp, two boxes and some noise."""
    source = torch.Generator().manual_seed(seed)
    ramp = torch.linspace(0, 1, size) * torch.linspace(0.5, 1, size)[:, None]
    images = torch.rand(count, channels, 1, 1, generator=source) * ramp + torch.rand(count, 1, 1, 1, generator=source)
    for image in images:
        for _ in range(2):
            top, left = torch.randint(0, size - 6, (2,), generator=source).tolist()
            image[:, top : top + 6, left : left + 9] = torch.rand(channels, 1, 1, generator=source)
    images += 0.1 * torch.randn(images.shape, generator=source)
    return (images * 127).clamp(0, 255).to(torch.uint8)


REALS, FAKES = draw(4, seed=1), 255 - draw(5, seed=2) // 2
FEW_REALS, FEW_FAKES = REALS[:2], FAKES[:3]


def load(path, spec=SPEC):
    return InceptionExtractor(spec, weights=str(path))


def packed(name, images):
    return PackedData(name, images, None, (), hashlib.sha256(images.numpy().tobytes()).hexdigest())


def compare(reals, fakes, weights, folder):
    return Comparison(
        ImagesSubject(packed("fakes", fakes), folder, name="fakes"),
        Reference.choose(packed("reals", reals), split="all"),
        load(weights, packed("reals", reals).spec),
        Protocol(samples=len(fakes)),
        device=CPU,
        cache=folder,
    )


def measure(*arguments):
    (row,) = compare(*arguments).measure("fid", METRICS["fid"]())
    return row


def look(extractor, images, folder):
    return extract(DataImages(packed("x", images), torch.arange(len(images))), extractor, device=CPU, cache=folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Where features of this file's sets are kept."""
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def result(safe_file, cache):
    return measure(REALS, FAKES, safe_file, cache)


@pytest.fixture(scope="module")
def features(network):
    """Features of both sets by the plain module, one image at a time."""
    with torch.no_grad():
        return [torch.cat([network(image[None])[0] for image in images]) for images in (REALS, FAKES)]


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


@pytest.mark.slow
def test_fid_and_inception_score_equal_what_torch_fidelity_computes_by_itself(torch_file, tmp_path):
    import torch_fidelity

    comparison = compare(FEW_REALS, FEW_FAKES, torch_file, tmp_path)
    (distance,) = comparison.measure("fid", METRICS["fid"]())
    score = inception_score(comparison.fakes.logits, splits=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = torch_fidelity.calculate_metrics(
            input1=Images(FEW_FAKES),
            input2=Images(FEW_REALS),
            fid=True,
            isc=True,
            isc_splits=1,
            cuda=False,
            cache=False,
            save_cpu_ram=True,
            verbose=False,
            feature_extractor_weights_path=str(torch_file),
        )
    assert distance.value == pytest.approx(metrics["frechet_inception_distance"], rel=1e-4)
    assert score.mean == pytest.approx(metrics["inception_score_mean"], rel=1e-4)
    assert score.mean > 1 + 1e-4


def test_fid_does_not_mind_which_set_comes_first(features):
    real, fake = (Moments.of(side[:, :300]) for side in features)
    assert frechet_distance(fake, real) == pytest.approx(frechet_distance(real, fake), rel=1e-9)


def test_other_weights_have_another_hash_and_give_other_features(result, network, features, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["Conv2d_1a_3x3.conv.weight"] *= -1
    torch.save(state, tmp_path / "other.pth")
    other = load(tmp_path / "other.pth")
    assert other.weights_sha256 == hashlib.sha256((tmp_path / "other.pth").read_bytes()).hexdigest()
    assert other.weights_sha256 != result.protocol["weights_sha256"]
    assert name_metric("fid", other) != result.metric
    assert not torch.allclose(look(other, FEW_REALS, tmp_path).features, features[0][:2], rtol=0.1)


def test_both_formats_give_the_features_of_the_plain_module_and_nothing_is_printed(
    features, safe_file, torch_file, tmp_path, capfd
):
    for path in (safe_file, torch_file):
        found = look(load(path), FEW_REALS, tmp_path)
        torch.testing.assert_close(found.features, features[0][:2], rtol=1e-4, atol=1e-5)
        assert (found.features.dtype, found.logits.shape) == (torch.float32, (2, 1008))
    assert capfd.readouterr() == ("", "")


def test_grey_images_have_the_features_of_their_three_channel_repeats(safe_file, tmp_path):
    grey = draw(2, seed=3, channels=1)
    one = look(load(safe_file, DataSpec((1, 24, 24))), grey, tmp_path)
    assert torch.equal(one.features, look(load(safe_file), grey.repeat(1, 3, 1, 1), tmp_path).features)


@pytest.mark.parametrize("shape", [(2, 24, 24), (4, 24, 24), (3,)])
def test_images_of_other_channels_and_vectors_are_refused(safe_file, shape):
    with pytest.raises(OptionError, match="extractor 'inception'.*it needs 1 or 3"):
        load(safe_file, DataSpec(shape))


def test_images_that_are_not_rounded_have_the_features_of_fid_where_they_are_whole_numbers(safe_file, tmp_path):
    extractor, images = load(safe_file), draw(2, seed=5)
    expected = look(extractor, images, tmp_path).features
    sees = InceptionFeatures(extractor)
    with torch.no_grad():
        found, moved = sees(to_float(images)), sees(to_float(images) + 1e-4)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.equal(moved, found)  # by less than a hundredth of a level


def test_the_result_tells_the_network_and_that_it_is_no_fid(result, safe_file):
    sha256 = hashlib.sha256(safe_file.read_bytes()).hexdigest()
    assert result.metric == f"fd_inception-{sha256[:8]}"
    assert {
        "extractor": f"inception-{sha256[:8]}",
        "weights_sha256": sha256,
        "preprocessing": "TF1 bilinear to 299, no antialias, as in torch-fidelity",
        "num_samples": 5,
        "num_references": 4,
        "images": "24x24 with 3 channels",
    }.items() <= result.protocol.items()
    unpublished, few = result.notes
    assert unpublished == "these are not the published Inception weights: nothing made with them is FID"
    assert "fewer than 10,000 images" in few
    assert "equal numbers" in few


class Means(nn.Module):
    """A stand-in for the network."""

    def forward(self, images):
        return images.float().flatten(1)[:, :5], images.float().flatten(1)[:, :3]


def test_by_published_weights_alone_metrics_bear_their_plain_names(tmp_path, monkeypatch):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.torch.save({"x": torch.zeros(1)}))
    monkeypatch.setattr(inception, "Inception", lambda state, clean: Means())
    monkeypatch.setattr(inception, "quicken", lambda network: True)
    many = torch.randint(256, (10_000, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    names = {}
    for sha256 in (inception.SHA256, hashlib.sha256(path.read_bytes()).hexdigest()):
        monkeypatch.setattr(inception, "SHA256", sha256)
        comparison = compare(many, many.flip(0), path, tmp_path)
        rows = [row for metric in ("fid", "is") for row in comparison.measure(metric, METRICS[metric]())]
        assert [row.notes for row in rows] == [comparison.extractor.notes] * 2
        names[comparison.extractor.is_published] = [row.metric for row in rows]
    label = f"inception-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    assert names == {False: [f"fd_{label}", f"is_{label}"], True: ["fid", "is"]}
    assert comparison.extractor.notes == ()


def test_nothing_is_left_in_the_users_home(result, home):
    assert list(home.rglob("*")) == []


def test_weights_that_are_not_finite_are_refused(network, tmp_path):
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state["Conv2d_1a_3x3.conv.weight"][0] = float("nan")
    safetensors.torch.save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(CheckpointError, match=r"nan.safetensors is damaged: not all of its weights are finite"):
        load(tmp_path / "nan.safetensors")
