"""Path length and linear separability against closed forms, and messages where they are unavailable."""

import json
import math
import urllib.error
import urllib.request
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ganforge import StyleGenerator
from ganforge.builtin.avatars import Avatars
from ganforge.contract.data import DataSpec
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.contract.metric import Request
from ganforge.data.store import PackedData
from ganforge.evaluation.classifier import Classifier
from ganforge.evaluation.extractors.classifier import ClassifierExtractor
from ganforge.evaluation.metrics import lpips, path_length, separability
from ganforge.evaluation.metrics.distances import FeatureDistance, ImageDistance, RepeatedChannels, open_distance
from ganforge.evaluation.metrics.path_length import EPSILON, mean_without_outliers, path_lengths, w_path, z_path
from ganforge.evaluation.metrics.separability import (
    attribute_scores,
    conditional_entropy,
    entropy,
    fit_plane,
    predict_sides,
    separate,
)
from ganforge.evaluation.reporter import Reporter
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.plugins.registry import Registry
from ganforge.sampling import draw_latents

NAMES = ("smile", "hat", "glasses")


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def squared(first, second):
    return (first - second).flatten(1).square().sum(dim=1)


class Linear(StyleGenerator):
    """Styles are linear in latents, images of 3 x 2 x 2 linear in the two layers' styles; classes shift them."""

    z_dim, w_dim, num_styles = 5, 4, 2

    def __init__(self, only_float32=False):
        super().__init__()
        self.map = nn.Parameter(normal(4, 5, seed=1, dtype=torch.float32))
        self.draw = nn.Parameter(normal(12, 8, seed=2, dtype=torch.float32) / 10)
        self.only_float32 = only_float32
        self.asked = []

    def mapping(self, z, labels=None, truncation=1.0, cutoff=-1):
        w = truncation * (z @ self.map.T) + (0 if labels is None else labels[:, None])
        self.asked.append(None if labels is None else labels.clone())
        return w[:, None].expand(-1, 2, -1)

    def synthesis(self, w, noise="fixed"):
        if self.only_float32:
            w = w @ torch.eye(self.w_dim)
        return (w.flatten(1) @ self.draw.T).view(-1, 3, 2, 2)


class Plain(nn.Module):
    """Images of 3 x 2 x 2, linear in the latents, with optional noise."""

    z_dim = 5

    def __init__(self, noisy=False):
        super().__init__()
        self.draw = nn.Parameter(normal(12, 5, seed=2, dtype=torch.float32) / 10)
        self.noisy = noisy

    def forward(self, z, labels=None):
        images = (z @ self.draw.T).view(-1, 3, 2, 2)
        return images + torch.randn_like(images) if self.noisy else images


def run_of(generator, labels=None, dataset=None, num_classes=8):
    count = 40 if labels is None else len(labels)
    names = tuple(f"c{index}" for index in range(num_classes)) if labels is not None else ()
    data = PackedData("toys", torch.zeros(count, 3, 2, 2, dtype=torch.uint8), labels, names, "f" * 64)
    return TrainedRun(None, generator, {"digest": "g" * 64}, data, dataset, None)


@pytest.fixture
def by_pixels(monkeypatch):
    """Distances are those of pixels, so features are the images themselves."""
    judge = ImageDistance(name="pixels", network=FeatureDistance(nn.Flatten()), weights={})
    monkeypatch.setattr("ganforge.evaluation.metrics.path_length.open_distance", lambda *_args, **_kwargs: judge)


def lengths_of(generator, count=8, labels=None, **options):
    return path_length.measure(run_of(generator, labels), Request(count=count, seed=3, **options))


# Ways


def test_the_path_length_of_a_linear_generator_in_w_is_that_of_the_line():
    matrix, start, end = normal(7, 8), normal(20, 2, 4, seed=1), normal(20, 2, 4, seed=2)
    found = path_lengths(lambda w: w.flatten(1) @ matrix.T, squared, w_path(start, end), torch.rand(20).double())
    torch.testing.assert_close(found, ((end - start).flatten(1) @ matrix.T).square().sum(1), rtol=1e-9, atol=0)


def test_the_way_in_z_turns_at_constant_speed_on_the_sphere_where_latents_lie():
    start, end = normal(20, 6, seed=1), 3 * normal(20, 6, seed=2)
    positions = torch.linspace(0, 1, 20, dtype=torch.float64)
    torch.testing.assert_close(z_path(start, end)(positions).norm(dim=1), torch.full((20,), math.sqrt(6)).double())
    angle = torch.acos((start * end).sum(1) / start.norm(dim=1) / end.norm(dim=1))
    chord = 4 * 6 * torch.sin(angle * EPSILON / 2).square() / EPSILON**2
    torch.testing.assert_close(
        path_lengths(lambda z: z, squared, z_path(start, end), positions), chord, rtol=1e-8, atol=0
    )


def test_the_step_is_small_enough_for_the_derivative():
    start, end = normal(1, 1, 3, seed=1), normal(1, 1, 3, seed=2)
    found = path_lengths(lambda w: w.square().flatten(1), squared, w_path(start, end), torch.zeros(1).double())
    slope = 2 * start * (end - start)
    assert found.item() == pytest.approx(slope.square().sum().item(), rel=1e-3)


def test_noise_that_a_generator_draws_is_the_same_for_both_images():
    start, end = normal(4, 6, seed=1), normal(4, 6, seed=2)
    state, way, t = torch.get_rng_state(), z_path(start, end), torch.zeros(4).double()
    noisy = path_lengths(lambda z: z + torch.randn_like(z), squared, way, t)
    torch.testing.assert_close(noisy, path_lengths(lambda z: z, squared, way, t), rtol=1e-8, atol=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_hundredth_at_both_ends_is_left_out_of_the_mean():
    lengths = normal(1003).exp()
    low, high = (np.percentile(lengths, q, method=how) for q, how in ((1, "lower"), (99, "higher")))
    kept = [each for each in lengths.tolist() if low <= each <= high]
    assert 980 <= len(kept) < 1003
    mean, error = mean_without_outliers(lengths)
    assert mean == pytest.approx(np.mean(kept), rel=1e-12)
    winsorized = np.std(np.clip(lengths.numpy(), min(kept), max(kept)), ddof=1)
    assert error == pytest.approx(winsorized * math.sqrt(1003) / len(kept), rel=1e-12)
    assert mean_without_outliers(torch.tensor([1.0, 5.0]).double()) == pytest.approx((3.0, 2.0))


# Path length of a run


def test_a_run_of_a_linear_style_generator_has_the_lengths_of_its_matrices(by_pixels):
    generator = Linear()
    result = lengths_of(generator)
    found = {each.space: each for each in result.found}
    computed_in = result.values[0].parameters["computed_in"]
    assert (list(found), computed_in, result.protocol["num_samples"]) == (["z", "w"], "float64", 8)
    matrix = (generator.draw[:, :4] + generator.draw[:, 4:]).detach().double()
    whole = matrix @ generator.map.detach().double()
    start, end = draw_latents(16, 5, 3).double().chunk(2)
    expected, _ = mean_without_outliers(((end - start) @ whole.T).square().sum(1))
    assert found["w"].full == pytest.approx(expected, rel=1e-6)
    assert found["w"].end == pytest.approx(expected, rel=1e-6)
    # At its beginning the way in z goes along the part of the end's direction that is perpendicular to the start's.
    u, v = (each / each.norm(dim=1, keepdim=True) for each in (start, end))
    cosine = (u * v).sum(1, keepdim=True)
    tangent = (v - cosine * u) / (1 - cosine.square()).sqrt() * torch.acos(cosine) * 5**0.5
    expected, _ = mean_without_outliers((tangent @ whole.T).square().sum(1))
    assert found["z"].end == pytest.approx(expected, rel=1e-3)
    assert found["z"].full != pytest.approx(found["z"].end, rel=1e-3)


def test_the_generator_stays_as_it_was(by_pixels):
    generator = Linear().train()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    lengths_of(generator)
    assert generator.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())
    assert next(generator.parameters()).dtype == torch.float32


def test_both_ends_have_one_label_drawn_from_the_data(by_pixels):
    labels = torch.tensor([2] * 10 + [5] * 30)
    generator = Linear()
    run = run_of(generator, labels)
    asked = run.draw_labels(8, 3)
    assert set(asked.tolist()) <= {2, 5}
    # A label moves both ends of a way alike, so where they are one for each way, lengths are those without labels.
    with_labels, without = (
        path_length.measure(each, Request(count=8, seed=3, space="w")).found for each in (run, run_of(generator))
    )
    assert with_labels[0].full == pytest.approx(without[0].full, rel=1e-6)


def test_truncation_shortens_ways_in_w_by_its_square(by_pixels):
    full, half = (
        path_length.measure(run_of(Linear()), Request(count=8, seed=3, truncation=psi, space="w")).found[0].full
        for psi in (1, 0.5)
    )
    assert half == pytest.approx(full / 4, rel=1e-6)
    with pytest.raises(OptionError, match="cannot be truncated"):
        path_length.measure(run_of(Plain()), Request(count=8, seed=3, truncation=0.5))


def test_a_generator_that_cannot_be_brought_to_float64_is_measured_in_float32_and_that_is_said(by_pixels):
    double, single = lengths_of(Linear(), space="w"), lengths_of(Linear(only_float32=True), space="w")
    assert [each.values[0].parameters["computed_in"] for each in (double, single)] == ["float64", "float32"]
    assert single.found[0].full == pytest.approx(double.found[0].full, rel=0.02)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "pggan", "stylegan"])
def test_built_in_generators_can_be_measured_in_float64(name, by_pixels):
    registry, spec = Registry.installed(), DataSpec((3, 8, 8))
    small = {"mlp": {"hidden": 8}, "stylegan": {"w_dim": 8, "width": 4, "max_width": 8}}.get(name, {"width": 4})
    result = lengths_of(registry.build("generator", name, {"z_dim": 8, **small}, spec), count=2)
    assert result.values[0].parameters["computed_in"] == "float64"
    assert [each.space for each in result.found] == (["z", "w"] if name == "stylegan" else ["z"])
    assert all(each.full > 0 and each.end > 0 for each in result.found)


def test_noise_of_a_plain_generator_does_not_lengthen_its_ways(by_pixels):
    quiet, noisy = (lengths_of(Plain(noisy=noisy)).found[0].full for noisy in (False, True))
    assert noisy == pytest.approx(quiet, rel=1e-6)


def test_weights_that_give_no_finite_lengths_are_refused(by_pixels):
    broken = Plain()
    broken.draw.data[0, 0] = math.nan
    with pytest.raises(CheckpointError, match="not finite"):
        lengths_of(broken)


def test_what_has_no_path_length_is_refused(by_pixels):
    with pytest.raises(OptionError, match="Plain has no styles"):
        lengths_of(Plain(), space="w")
    with pytest.raises(OptionError, match="--space s: latent space not found"):
        lengths_of(Linear(), space="s")
    points = PackedData("points", torch.zeros(4, 2), None, (), "x")
    with pytest.raises(OptionError, match="points holds vectors"):
        path_length.measure(TrainedRun(None, Plain(), {"digest": "g"}, points, None, None), Request(count=2))


# Distances


def opened(name, run, **files):
    return open_distance(run, Request(distance=name, **files), Reporter(log=print))


def test_a_distance_that_cannot_be_had_is_refused_before_anything_is_loaded(tmp_path):
    run = run_of(Plain())
    for said, name, files in (
        ("--distance lpip: not found", "lpip", {}),
        ("toys has no classes", "classifier", {}),
        ("images are 2x2", "lpips", {}),
        ("--classifier .*: unused by --distance lpips", "lpips", {"classifier": tmp_path}),
        ("--inception-weights .*: unused by --distance lpips", "lpips", {"inception_weights": tmp_path}),
        ("--lpips-weights .*: unused by --distance inception", "inception", {"lpips_weights": tmp_path}),
    ):
        with pytest.raises(OptionError, match=said):
            opened(name, run, **files)
    five = PackedData("deep", torch.zeros(4, 5, 16, 16, dtype=torch.uint8), None, (), "x")
    with pytest.raises(OptionError, match="images of deep have 5 channels"):
        opened("inception", TrainedRun(None, Plain(), {}, five, None, None))


def test_features_of_a_classifier_are_the_same_from_floats_as_from_pixels(tmp_path):
    from ganforge.core.images import to_float
    from ganforge.evaluation.small_network import build_network

    network = build_network((3, 8, 8), 2).eval()
    judge = Classifier(
        network=network, shape=(3, 8, 8), class_names=("a", "b"), accuracy=1.0, num_held_out=1, data_name="x",
        data_fingerprint="x", seed=0, epochs=1,
    )  # fmt: skip
    images = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        seen = judge.feature_network()(to_float(images))
    judge.save(tmp_path / "judge.safetensors")
    extractor = ClassifierExtractor(DataSpec((3, 8, 8)), weights=str(tmp_path / "judge.safetensors"))
    torch.testing.assert_close(seen, extractor(images)[0])
    torch.testing.assert_close(network(to_float(images)), extractor(images)[1])
    torch.testing.assert_close(seen, list(network.children())[-3](network[:-3](to_float(images))).mean((2, 3)))


@pytest.fixture(scope="module")
def lpips_folder(tmp_path_factory):
    """Both files, with random weights; of VGG16 what LPIPS reads, and a little more."""
    folder, source = tmp_path_factory.mktemp("lpips"), torch.Generator().manual_seed(0)
    network = lpips.Lpips()
    sizes = [(n, conv.weight.shape) for block, ns in zip(network.blocks, lpips._BLOCKS, strict=True)
             for conv, n in zip([c for c in block if isinstance(c, nn.Conv2d)], ns, strict=True)]  # fmt: skip
    vgg = {"classifier.0.bias": torch.zeros(3)}
    for number, shape in sizes:
        vgg[f"features.{number}.weight"] = torch.randn(shape, generator=source) * (2 / math.prod(shape[1:])) ** 0.5
        vgg[f"features.{number}.bias"] = 0.1 * torch.randn(shape[0], generator=source)
    linear = {f"lin{i}.model.1.weight": torch.rand(w.shape, generator=source) for i, w in enumerate(network.weights)}
    torch.save(vgg, folder / lpips.VGG16.name)
    torch.save(linear, folder / lpips.LINEAR.name)
    return folder


@pytest.fixture(scope="module")
def network(lpips_folder):
    return lpips.load_lpips(lpips_folder)[0]


def theirs(folder, monkeypatch, **options):
    """torch-fidelity's own LPIPS with the same weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_fidelity import sample_similarity_lpips as module
        from torchvision.models import vgg

    features = vgg.make_layers(vgg.cfgs["D"])
    state = torch.load(folder / lpips.VGG16.name)
    features.load_state_dict({name[9:]: each for name, each in state.items() if name.startswith("features.")})
    monkeypatch.setattr(module, "torchvision_load_pretrained_vgg16", lambda: SimpleNamespace(features=features))
    monkeypatch.setattr(
        module, "load_state_dict_from_url", lambda *_args, **_kwargs: torch.load(folder / lpips.LINEAR.name)
    )
    return module.SampleSimilarityLPIPS("lpips-vgg16", **options)


def pictures(size=32, seed=0):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_lpips_is_what_torch_fidelity_computes(network, lpips_folder, monkeypatch):
    first, second = pictures(seed=0), pictures(seed=1)
    other = theirs(lpips_folder, monkeypatch)(first * 127.5 + 127.5, second * 127.5 + 127.5).flatten()
    assert (other > 0.01).all()
    torch.testing.assert_close(network(first, second), other, rtol=1e-5, atol=0)
    assert network(first, first).tolist() == [0, 0]


def test_lpips_averages_large_images_down(network, lpips_folder, monkeypatch):
    first, second = pictures(seed=0), pictures(seed=1)
    other = theirs(lpips_folder, monkeypatch, sample_similarity_resize=24)
    monkeypatch.setattr(lpips, "MAX_SIZE", 24)
    expected = other(first * 127.5 + 127.5, second * 127.5 + 127.5).flatten()
    torch.testing.assert_close(network(first, second), expected, rtol=1e-4, atol=0)


def test_grey_images_have_the_lpips_of_their_three_channel_repeats(network):
    first, second = (pictures(size=16, seed=seed)[:, :1] for seed in (0, 1))
    expected = network(first.repeat(1, 3, 1, 1), second.repeat(1, 3, 1, 1))
    assert torch.equal(RepeatedChannels(network)(first, second), expected)


def test_weights_of_lpips_are_quoted_by_their_hashes(lpips_folder, monkeypatch):
    run = run_of(Plain())
    run = TrainedRun(
        None, Plain(), {}, PackedData("a", torch.zeros(1, 3, 16, 16, dtype=torch.uint8), None, (), "x"), None, None
    )
    monkeypatch.setenv(lpips.VARIABLE, str(lpips_folder))
    distance = opened("lpips", run)
    assert distance.name == "torch-fidelity's LPIPS (VGG16)"
    assert set(distance.weights) == {lpips.VGG16.name, lpips.LINEAR.name}
    assert all(len(each) == 64 for each in distance.weights.values())


def test_files_of_lpips_that_are_absent_or_wrong_are_named(lpips_folder, tmp_path, monkeypatch):
    def offline(*_args, **_kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv(lpips.VARIABLE, raising=False)
    with pytest.raises(CheckpointError, match=r"LPIPS needs weights-vgg16-lpips\.pth .*cannot be downloaded") as caught:
        lpips.load_lpips(None)
    assert "\n" not in str(caught.value)
    for part in (lpips.LINEAR.url, str(tmp_path), "--lpips-weights FOLDER", lpips.VGG16.name):
        assert part in caught.value.hint
    with pytest.raises(CheckpointError, match=r"--lpips-weights: file .*weights-vgg16-lpips\.pth not found"):
        lpips.load_lpips(tmp_path)
    (tmp_path / lpips.VGG16.name).symlink_to(lpips_folder / lpips.VGG16.name)
    (tmp_path / lpips.LINEAR.name).write_bytes(b"<html>")
    with pytest.raises(CheckpointError, match="is no weight file"):
        lpips.load_lpips(tmp_path)
    torch.save({"lin0.model.1.weight": torch.zeros(1, 3, 1, 1)}, tmp_path / lpips.LINEAR.name)
    with pytest.raises(CheckpointError, match="weights of another network"):
        lpips.load_lpips(tmp_path)


# Planes


def test_a_plane_is_where_the_derivative_of_the_objective_vanishes():
    points = normal(300, 4) * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 3
    sides = points[:, 0] + 0.1 * points[:, 1] + normal(300, seed=5) > 3.5
    vector, offset = fit_plane(points, sides)
    deviation, mean = points.std(0, correction=0), points.mean(0)
    x, y = ((points - mean) / deviation).numpy(), np.where(sides.numpy(), 1.0, -1.0)
    v, b = (vector * deviation).numpy(), float(offset + vector @ mean)
    missed = np.maximum(0, 1 - y * (x @ v + b))
    np.testing.assert_allclose(v, 2 * (missed * y) @ x, atol=1e-5)
    assert (missed * y).sum() == pytest.approx(0, abs=1e-5)
    assert (((points @ vector + offset > 0) == sides).double().mean()) > 0.8


def test_conditional_entropy_equals_the_sum_over_the_joint_distribution():
    truth = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]).bool()
    known = torch.tensor([1, 1, 0, 0, 0, 0, 1, 0]).bool()
    table = {(1, 1): 2, (0, 1): 1, (1, 0): 1, (0, 0): 4}  # (truth, known)
    sides = {1: 3, 0: 5}
    expected = -sum(n / 8 * math.log(n / sides[x]) for (_, x), n in table.items())
    assert conditional_entropy(truth, known) == pytest.approx(expected, abs=1e-12)
    assert conditional_entropy(truth, truth) == conditional_entropy(truth, ~truth) == 0
    assert conditional_entropy(truth, torch.ones(8).bool()) == pytest.approx(entropy(truth))
    assert entropy(truth) == pytest.approx(-(3 / 8 * math.log(3 / 8) + 5 / 8 * math.log(5 / 8)), abs=1e-12)


def test_sides_are_told_of_points_that_the_plane_has_not_seen():
    # In 60 dimensions a plane divides two times 50 points in any way, but what it has not seen it cannot know.
    points, sides = normal(100, 60), normal(100, seed=1) > 0
    vector, offset = fit_plane(points, sides)
    assert ((points @ vector + offset > 0) == sides).double().mean() > 0.9
    assert (predict_sides(points, sides) == sides).double().mean() < 0.7


def test_scores_of_attributes_are_the_odds_of_their_classes():
    logits = normal(6, 8)
    p = logits.softmax(1)
    scores = attribute_scores(logits, 3)
    for bit in range(3):
        share = sum(p[:, label] for label in range(8) if label >> bit & 1)
        torch.testing.assert_close(scores[:, bit], (share / (1 - share)).log())
    beyond = attribute_scores(torch.tensor([[90.0, 0, 0, 0]]), 2)[0, 0]  # so sure that p itself would be 0
    assert beyond == pytest.approx(math.log(2) - 90)


# Separability


def test_attributes_that_are_linear_in_latents_are_separated_wholly_and_independent_ones_not_at_all():
    latents = normal(4000, 3)
    scores = torch.stack([latents @ torch.tensor([1.0, -2, 0.5]).double() + 1, normal(4000, seed=7) + 0.5], dim=1)
    (linear, chance), notes = separate({"z": latents, "flat": latents[:, :1] * 0}, scores, ("linear", "chance"))
    assert notes == ()
    assert linear.conditional["z"] == 0  # the half that is kept leaves a gap between both sides
    assert linear.conditional["flat"] == linear.entropy > 0.5
    assert chance.conditional["z"] == pytest.approx(chance.entropy, abs=0.002)
    assert chance.conditional["z"] <= chance.entropy


def test_the_half_of_which_the_classifier_is_surest_counts():
    latents = normal(2000, 2)
    sure = torch.arange(2000) % 2 == 0
    # Of the odd ones the classifier is unsure and wrong.
    scores = torch.where(sure, latents[:, 0].sign() * 5, -latents[:, 0].sign())
    ((found,), _) = separate({"z": latents}, scores[:, None], ("a",))
    assert found.share == float((latents[sure, 0] > 0).double().mean())
    assert found.conditional["z"] < 0.3 * found.entropy


def test_an_attribute_that_all_images_share_is_left_out_with_a_line():
    latents = normal(60, 2)
    scores = torch.stack([latents[:, 0], torch.ones(60), -torch.ones(60)], dim=1)
    found, notes = separate({"z": latents}, scores, NAMES)
    assert [each.name for each in found] == ["smile"]
    assert [note.split(":")[0] for note in notes] == ["hat is left out", "glasses is left out"]
    assert "have it" in notes[0]
    assert "lack it" in notes[1]


class Pixels(nn.Module):
    """Reads attribute i from pixel i: it is there if the pixel is bright."""

    def __init__(self, pattern=(1, 1, 1)):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))
        self.pattern = pattern

    def forward(self, images):
        has = (torch.arange(8)[:, None] >> torch.arange(3)) % 2 * 2.0 - 1
        return 50 * (images.flatten(1)[:, :3] * torch.tensor(self.pattern) + 1e-3) @ has.T


@pytest.fixture
def read_pixels(monkeypatch):
    def opened(run, file, reporter):
        return Classifier(
            network=Pixels(getattr(run.generator, "pattern", (1, 1, 1))), shape=run.data.spec.shape,
            class_names=run.data.class_names, accuracy=1.0, num_held_out=3, data_name="toys",
            data_fingerprint="f" * 64, seed=0, epochs=1,
        )  # fmt: skip

    monkeypatch.setattr("ganforge.evaluation.metrics.separability.open_for_classes", opened)


def separability_of(generator, said=None, **options):
    run = run_of(generator, torch.arange(40) % 8, Avatars(count=1))
    reporter = Reporter(log=[].append if said is None else said.append)
    return separability.measure(run, Request(count=2000, **options), reporter)


def test_a_linear_generator_is_separable_in_z(read_pixels):
    result = separability_of(Plain())
    assert list(result.found.values) == ["z"]
    assert 1 <= result.found.values["z"] < 1.1
    assert result.found.chance == pytest.approx(math.exp(sum(each.entropy for each in result.found.attributes)))
    assert result.found.chance > 5
    assert result.protocol["classifier"]["accuracy"] == 1.0
    assert {each.name: each.value for each in result.values} == {"separability-z": result.found.values["z"]}


class Bent(Linear):
    """Latents are bent before they become styles, so z is not separable and w is."""

    def mapping(self, z, labels=None, truncation=1.0, cutoff=-1):
        w = torch.sin(4 * z[:, :4])
        return w[:, None].expand(-1, 2, -1)

    def synthesis(self, w, noise="fixed"):
        return w[:, 0].repeat(1, 3).view(-1, 3, 2, 2)


def test_w_is_more_separable_than_z_where_the_mapping_unbends_it(read_pixels):
    result = separability_of(Bent())
    assert result.found.values["w"] < 1.05
    assert result.found.values["z"] > 0.95 * result.found.chance > 7
    words = result.text
    assert all(part in words for part in ("z ", "w ", *NAMES, "right on held-out"))
    assert list(separability_of(Bent(), space="w").found.values) == ["w"]


def test_attributes_that_a_generator_never_varies_are_told(read_pixels):
    generator, said = Plain(), []
    generator.pattern = (1, 0, 1)
    result = separability_of(generator, said)
    assert [each.name for each in result.found.attributes] == ["smile", "glasses"]
    assert said == [f"note: {note}" for note in result.found.notes]
    assert "hat is left out" in said[0]
    generator.pattern = (0, 0, 0)
    with pytest.raises(OptionError, match="images are equal in every attribute"):
        separability_of(generator)


def test_data_without_attributes_and_spaces_that_are_not_there_are_refused(read_pixels):
    with pytest.raises(OptionError, match="toys declares no attributes"):
        separability.measure(run_of(Plain(), torch.arange(40) % 8), Request(count=20))
    with pytest.raises(OptionError, match="no styles"):
        separability_of(Plain(), space="w")


# The command


FACES = ["--data", "avatars", "--resolution", "8", "--set", "data.count=200"]
FACES += ["--images", "16", "--batch", "8", "--device", "cpu"]
STYLES = ["--arch", "stylegan", "--set", "generator.width=4", "--set", "generator.max_width=8"]
STYLES += ["--set", "generator.z_dim=8", "--set", "generator.w_dim=8", "--set", "discriminator.width=4"]
MLP = ["--arch", "mlp", "--set", "generator.hidden=16", "--set", "discriminator.hidden=8"]


def train(run, *arguments):
    code, out, err = run("train", *arguments)
    assert code == 0, err
    return out.strip()


def mistake(code, _out, err):
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, len(lines), "Traceback" in err) == (2, 1, False)
    return lines[0]


def kept(folder):
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_the_command_measures_path_lengths_in_both_spaces_and_keeps_the_result(run, here):
    folder = train(run, *FACES, *STYLES)
    code, out, err = run("eval", "--ppl", "--samples", "6", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert kept(here / folder) == rows
    assert [row["metric"] for row in rows] == ["ppl-z", "ppl-w"]
    for row in rows:
        assert row["value"] == row["details"]["full"]
        assert row["interval"] is None  # of so few ways
        assert row["protocol"]["distance"] == "squared distance of features of avatars-classifier"
        assert {"num_samples": 6, "truncation": 1.0, "computed_in": "float64"}.items() <= row["protocol"].items()
        assert row["circumstances"]["seed"] == 0
    code, words, err = run("eval", "--ppl", "--samples", "6", "--space", "w")
    assert code == 0, err
    assert f"w           full {rows[1]['value']:.5g}" in words
    assert "  z" not in words
    for said, flags in (
        ("images are 8x8", ["--ppl", "--distance", "lpips"]),
        ("--distance vgg: not found", ["--ppl", "--distance", "vgg"]),
        ("latent space not found", ["--ppl", "--space", "x"]),
        ("--space w: --modes does not use it", ["--modes", "--space", "w"]),
        ("--distance lpips: --separability does not use it", ["--separability", "--distance", "lpips"]),
        ("--lpips-weights here: --fid does not use it", ["--fid", "--lpips-weights", "here"]),
    ):
        assert said in mistake(*run("eval", *flags, "--samples", "6"))


def test_the_command_measures_separability(run, here, read_pixels):
    folder = train(run, *FACES, *MLP)
    code, out, err = run("eval", "--separability", "--samples", "400", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert kept(here / folder) == [row]
    assert (row["metric"], row["better"]) == ("separability-z", "lower")
    assert 1 <= row["value"] <= 8
    assert row["value"] <= row["details"]["chance"] <= 8
    words = run("eval", "--separability", "--samples", "400")[1]
    assert f"z {row['value']:.4f}" in words
    assert "no styles" in mistake(*run("eval", "--separability", "--space", "w"))
