"""Metrics of a comparison equal computations of numpy from the definitions."""

import json
import warnings
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from test_feature_store import Toy

from ganforge.builtin.metrics import METRICS
from ganforge.contract.errors import DataError, OptionError
from ganforge.data.store import PackedData
from ganforge.evaluation.features import FeatureSet
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference, describe_protocol
from ganforge.evaluation.results.result import Evaluation
from ganforge.evaluation.statistics import Interval, inception_score
from ganforge.evaluation.subjects.subject import GeneratorSubject, ImagesSubject, SubjectImages

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

CPU = torch.device("cpu")


class Wide(Toy):
    """More dimensions than there are images."""

    label = "wide"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(48, 60, generator=torch.Generator().manual_seed(3)))


def packed(name, images, labels=None, classes=()):
    return PackedData(name, images, labels, classes, f"{name} {images.double().sum()} {len(images)}")


def pixels(count, seed, brightest=256):
    return torch.randint(brightest, (count, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def compare(tmp_path, reals=150, fakes=130, extractor=None, **options):
    subject = ImagesSubject(packed("fakes", pixels(fakes, 2, 220)), tmp_path, name="fakes")
    reference = Reference.choose(packed("reals", pixels(reals, 1)), split="all")
    return Comparison(
        subject, reference, extractor or Toy(), Protocol(samples=fakes, **options), device=CPU, cache=tmp_path / "cache"
    )


def features_of(comparison):
    """By numpy, in float64."""
    weight = comparison.extractor.weight.detach().double().numpy()
    fakes = comparison.fake_images
    images = (comparison.reference.data.examples, fakes.read(0, fakes.count))
    return [each.flatten(1).double().numpy() / 255 @ weight for each in images]


def one(comparison, metric):
    (row,) = comparison.measure(metric, METRICS[metric]())
    return row


def frechet(reals, fakes):
    """By the roots of the eigenvalues of the plain product of both covariances."""
    first, second = (np.cov(each, rowvar=False) for each in (reals, fakes))
    roots = np.sqrt(np.linalg.eigvals(first @ second).astype(complex)).real
    return np.square(reals.mean(0) - fakes.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * roots.sum()


def discrepancy(reals, fakes):
    def kernel(left, right):
        return (left @ right.T / left.shape[1] + 1) ** 3

    within = [(kernel(each, each).sum() - np.trace(kernel(each, each))) / (len(each) * (len(each) - 1))
              for each in (reals, fakes)]  # fmt: skip
    return sum(within) - 2 * kernel(reals, fakes).mean()


def balls(reals, fakes, near=3, far=5):
    def distances(left, right):
        return np.sqrt(np.square(left[:, None] - right[None]).sum(2))

    def reach(each, count):
        return np.sort(distances(each, each), axis=1)[:, count]

    between = distances(reals, fakes)
    around_reals, around_fakes, wide = reach(reals, near), reach(fakes, near), reach(reals, far)
    return {
        "precision": (between <= around_reals[:, None]).any(0).mean(),
        "recall": (between <= around_fakes[None]).any(1).mean(),
        "density": (between < wide[:, None]).sum() / (far * len(fakes)),
        "coverage": (between < wide[:, None]).any(1).mean(),
    }


def test_the_frechet_distance_is_that_of_its_definition_and_of_torch_fidelity(tmp_path):
    comparison = compare(tmp_path)
    row = one(comparison, "fid")
    assert row.value == pytest.approx(frechet(*features_of(comparison)), rel=1e-6)
    statistics = [fid_features_to_statistics(torch.from_numpy(each)) for each in features_of(comparison)]
    told = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert row.value == pytest.approx(told, rel=1e-6)
    assert (row.metric, row.better) == ("fd_toy", "lower")
    assert row.interval.low < row.value == row.interval.value < row.interval.high


@pytest.mark.parametrize("extractor", [Toy, Wide])
def test_a_set_is_at_no_distance_from_itself(tmp_path, extractor):
    images = packed("same", pixels(50, 1))
    subject, reference = ImagesSubject(images, tmp_path, name="same"), Reference.choose(images, split="all")
    comparison = Comparison(subject, reference, extractor(), Protocol(samples=50), device=CPU, cache=tmp_path)
    assert one(comparison, "fid").value == pytest.approx(0, abs=1e-6)
    assert [row.value for row in comparison.measure("prc", METRICS["prc"]())] == [1, 1, pytest.approx(1, abs=0.5), 1]


@pytest.mark.parametrize(("reals", "fakes"), [(40, 30), (59, 150), (150, 20), (3, 2)])
def test_fewer_images_than_dimensions_have_the_frechet_distance_of_their_singular_values(tmp_path, reals, fakes):
    comparison = compare(tmp_path, reals, fakes, Wide())
    real, fake = features_of(comparison)
    first, second = ((each - each.mean(0)) / np.sqrt(len(each) - 1) for each in (real, fake))
    shared = np.linalg.svd(first @ second.T, compute_uv=False).sum()
    shift = np.square(real.mean(0) - fake.mean(0)).sum()
    expected = shift + np.square(first).sum() + np.square(second).sum() - 2 * shared
    assert one(comparison, "fid").value == pytest.approx(expected, rel=1e-6)


def test_the_kernel_distance_is_that_of_torch_fidelitys_subsets_and_of_its_definition(tmp_path):
    comparison = compare(tmp_path)
    row, features = one(comparison, "kid"), features_of(comparison)
    told = kid_features_to_metric(
        *map(torch.from_numpy, reversed(features)),  # its first input is the generated images, as for its IS
        kid_subsets=100, kid_subset_size=130, kid_kernel="poly", rng_seed=2020, verbose=False,
    )  # fmt: skip
    assert row.value == pytest.approx(told["kernel_inception_distance_mean"], rel=1e-6)
    assert row.details["deviation_of_subsets"] == pytest.approx(told["kernel_inception_distance_std"], rel=1e-5)
    source = np.random.RandomState(2020)
    values = [
        discrepancy(*(each[source.choice(len(each), 130, replace=False)] for each in reversed(features)))
        for _ in range(100)
    ]
    assert row.value == pytest.approx(np.mean(values), rel=1e-6)
    assert (row.metric, row.protocol["subset_size"], row.protocol["subsets"]) == ("kd_toy", 130, 100)
    assert row.interval.low < row.value < row.interval.high


def test_the_inception_score_is_that_of_its_definition_and_of_torch_fidelity(tmp_path):
    comparison = compare(tmp_path)
    row, logits = one(comparison, "is"), np.cos(features_of(comparison)[1][:, :3])
    told = isc_features_to_metric(torch.from_numpy(logits), splits=10, shuffle=True, rng_seed=2020)
    assert row.value == pytest.approx(told["inception_score_mean"], rel=1e-6)
    scores = []
    for part in np.split(logits[np.random.RandomState(2020).permutation(130)], 10):
        shares = np.exp(part) / np.exp(part).sum(1, keepdims=True)
        scores.append(np.exp((shares * np.log(shares / shares.mean(0))).sum(1).mean()))
    assert row.value == pytest.approx(np.mean(scores), rel=1e-6)
    assert row.details["deviation_of_splits"] == pytest.approx(np.std(scores), rel=1e-5)
    assert (row.metric, row.better, row.protocol["splits"]) == ("is_toy", "higher", 10)
    assert row.interval.low < row.value < row.interval.high
    assert row.value == pytest.approx(inception_score(torch.from_numpy(logits)).mean, rel=1e-6)


def test_precision_recall_density_and_coverage_are_those_by_all_pairs(tmp_path):
    comparison = compare(tmp_path)
    rows, features = comparison.measure("prc", METRICS["prc"]()), features_of(comparison)
    expected = balls(*features)
    assert {row.metric: row.value for row in rows} == {
        f"{name}_toy": pytest.approx(value, rel=1e-6) for name, value in expected.items()
    }
    fakes_and_reals = map(torch.from_numpy, reversed(features))
    told = prc_features_to_metric(*fakes_and_reals, prc_neighborhood=3, verbose=False)
    assert rows[0].value == pytest.approx(told["precision"], rel=1e-6)
    assert rows[1].value == pytest.approx(told["recall"], rel=1e-6)
    for row in rows:
        assert row.better == "higher"
        assert row.interval.low <= row.value <= row.interval.high
        assert row.protocol["num_searched"] == [150, 130]


def test_the_distance_of_infinitely_many_images_lies_on_the_line_through_its_subsets(tmp_path):
    row = one(compare(tmp_path, 400, 400), "fid-infinity")
    inverse = [1 / size for size in row.details["sizes"]]
    assert (len(inverse), row.protocol["smallest"], row.metric) == (15, 40, "fd-infinity_toy")
    slope, intercept = np.polyfit(inverse, row.details["distances"], 1)
    assert (row.value, row.details["slope"]) == pytest.approx((intercept, slope), rel=1e-9)
    assert row.interval.low < row.value < row.interval.high
    assert row.value < one(compare(tmp_path, 400, 400), "fid").value


def test_few_images_have_values_without_intervals(tmp_path):
    comparison = compare(tmp_path, 19, 40)
    rows = [row for metric in ("fid", "kid", "prc") for row in comparison.measure(metric, METRICS[metric]())]
    assert [row.interval for row in rows] == [None] * 6
    assert one(comparison, "is").interval is not None  # of the generated images alone
    assert all(np.isfinite(row.value) for row in rows)


@pytest.mark.parametrize(
    ("metric", "reals", "fakes", "said"),
    [
        ("fid", 1, 40, "--fid: there is 1 real image .it needs 2 or more"),
        ("fid", 40, 1, "--fid: there is 1 generated image .it needs 2 or more"),
        ("kid", 40, 3, "--kid: there are 3 generated images .it needs 4 or more"),
        ("prc", 5, 40, "--prc: there are 5 real images .it needs 6 or more"),
        ("is", 40, 1, "--is: there is 1 generated image .it needs 2 or more"),
        ("fid-infinity", 3, 40, "--fid-infinity: there are 3 real images .it needs 4 or more"),
        ("fid-infinity", 40, 19, "--fid-infinity: there are 19 generated images .it needs 20 or more"),
    ],
)
def test_too_few_images_are_refused_before_one_of_them_is_looked_at(tmp_path, metric, reals, fakes, said):
    comparison = compare(tmp_path, reals, fakes)
    with pytest.raises(OptionError, match=said):
        comparison.measure(metric, METRICS[metric]())
    assert comparison.extractor.shown <= 1  # a black one
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("metric", "reals", "fakes"),
    [("fid", 2, 2), ("kid", 4, 4), ("prc", 6, 6), ("is", 2, 2), ("fid-infinity", 4, 20), ("prc", 20, 20)],
)
def test_the_fewest_images_that_are_not_refused_have_a_value(tmp_path, metric, reals, fakes):
    assert all(np.isfinite(row.value) for row in compare(tmp_path, reals, fakes).measure(metric, METRICS[metric]()))


def test_an_inception_score_by_an_extractor_without_logits_is_refused_before_anything_is_computed(tmp_path):
    comparison = compare(tmp_path, extractor=Toy(logits=False))
    with pytest.raises(OptionError, match="--is: extractor 'toy' is no classifier .leave --is out"):
        comparison.check("is", METRICS["is"]())
    assert comparison.extractor.shown == 1
    assert not (tmp_path / "cache").exists()


def test_images_of_another_size_and_images_that_are_not_there_are_refused(tmp_path):
    reference = Reference.choose(packed("reals", pixels(9, 1)), split="all")
    for images, said in (
        (torch.zeros(9, 1, 4, 4, dtype=torch.uint8), "4x4 with 1 channel, reals has 4x4 with 3 channels"),
        (torch.zeros(9, 3, 4, 5, dtype=torch.uint8), "4x5 with 3 channels, reals has 4x4"),
    ):
        subject = ImagesSubject(packed("fakes", images), tmp_path, name="fakes")
        with pytest.raises(DataError, match=said):
            Comparison(subject, reference, Toy(), Protocol(samples=9), device=CPU, cache=tmp_path)
    subject = ImagesSubject(packed("fakes", pixels(9, 2)), tmp_path, name="fakes")
    for protocol, said in (
        (Protocol(samples=10), "--samples 10: fakes has 9 images"),
        (Protocol(samples=9, truncation=0.5), "these are existing images"),
    ):
        with pytest.raises(OptionError, match=said):
            Comparison(subject, reference, Toy(), protocol, device=CPU, cache=tmp_path)


def test_some_of_the_images_of_a_folder_are_not_its_first_ones(tmp_path):
    """Folders may hold one class after the other."""
    images = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    subject = ImagesSubject(packed("sorted", images), tmp_path, name="sorted")
    some, again, others = (SubjectImages(subject, 100, seed=seed) for seed in (0, 0, 1))
    drawn = some.read(0, 100)[:, 0, 0, 0].tolist()
    assert len(set(drawn)) == 100
    assert 30 < sum(each < 100 for each in drawn) < 70
    assert some.read(40, 60)[:, 0, 0, 0].tolist() == drawn[40:60] == again.read(40, 60)[:, 0, 0, 0].tolist()
    assert others.read(0, 100)[:, 0, 0, 0].tolist() != drawn
    assert some.identity == again.identity != others.identity
    assert drawn == sorted(drawn)
    for seed in (0, 1):  # all of them, as other programs read them
        assert SubjectImages(subject, 200, seed=seed).read(0, 200)[:, 0, 0, 0].tolist() == list(range(200))


def test_all_metrics_share_one_pass_over_the_images(tmp_path):
    comparison = compare(tmp_path)
    common = describe_protocol(comparison.reference, comparison.extractor, comparison.protocol).items()
    for metric in ("fid", "kid", "is", "prc", "fid-infinity"):
        assert all(common <= row.protocol.items() for row in comparison.measure(metric, METRICS[metric]()))
    assert comparison.extractor.shown == 150 + 130 + 1  # one black image


def test_notes_say_what_forbids_comparing(tmp_path):
    few, enough = compare(tmp_path), compare(tmp_path, 10_000, 10_000)
    assert one(few, "fid").notes == (
        "fewer than 10,000 images: biased upwards; compare only with equal numbers of images",
    )
    assert one(few, "kid").notes == ()
    assert one(enough, "fid").notes == ()
    noted = Toy()
    noted.notes = ("made of toys",)
    row = one(compare(tmp_path, extractor=noted, dtype="bfloat16"), "kid")
    assert row.notes == ("made of toys", "features in bfloat16: only for curves during training")
    assert row.metric == "kd_toy_bfloat16"


def test_a_row_tells_all_that_it_must_be_quoted_with_and_survives_json(tmp_path):
    comparison = compare(tmp_path)
    row = one(comparison, "fid")
    assert row.protocol == describe_protocol(comparison.reference, comparison.extractor, comparison.protocol)
    assert {
        "extractor": "toy", "preprocessing": "none", "dtype": "float32", "num_samples": 130, "num_references": 150,
        "split": "all", "images": "4x4 with 3 channels", "truncation": 1.0,
    }.items() <= row.protocol.items()  # fmt: skip
    assert row.protocol["data_fingerprint"] == comparison.reference.data.fingerprint
    assert len(row.protocol["weights_sha256"]) == 64
    assert (row.subject["kind"], row.subject["name"]) == ("images", "fakes")
    assert [row.circumstances[name] for name in ("seed", "device", "data")] == [0, "cpu", "reals"]
    assert row.circumstances["versions"].keys() == {"ganforge", "torch", "torchvision", "torch-fidelity"}
    assert isinstance(row.interval, Interval)
    age = datetime.now(UTC) - datetime.fromisoformat(row.circumstances["date"])
    assert timedelta(seconds=-1) <= age < timedelta(hours=1)
    assert Evaluation.from_json(json.loads(json.dumps(row.to_json()))) == row


class Grey(torch.nn.Module):
    """Images as bright as their class."""

    z_dim = 2

    def __init__(self):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.zeros(()))

    def forward(self, z, labels=None):
        return (labels - 0.5).view(-1, 1, 1, 1).expand(-1, 3, 4, 4) + 0 * z[:, :1, None, None] + self.offset


def test_a_generator_is_asked_for_classes_in_the_proportions_of_the_real_images(tmp_path):
    labels = torch.arange(1000) % 10 // 9
    data = packed("two", pixels(1000, 1), labels, ("many", "few"))
    card = {"digest": "g", "generator": {}, "data": {"shape": [3, 4, 4], "class_names": ["many", "few"]}}
    subject = GeneratorSubject(Grey(), card, tmp_path, name="grey")
    made = Comparison(
        subject, Reference.choose(data, split="all"), Toy(), Protocol(samples=600), device=CPU, cache=tmp_path
    )
    bright = made.fake_images.read(0, 600).float().mean((1, 2, 3)) > 127
    assert bright.double().mean() == pytest.approx(0.1, abs=0.04)
    assert torch.equal(made.fake_images.read(100, 105), made.fake_images.read(0, 600)[100:105])
    assert torch.equal(bright.long(), made.reference.draw_labels(600, 0, 2))
    with pytest.raises(DataError, match="two has 2 classes, the generator knows 1"):
        made.reference.draw_labels(600, 0, 1)
    unlabelled = Reference.choose(packed("one", pixels(20, 1)), split="all")
    shares = unlabelled.draw_labels(3000, 0, 3).bincount(minlength=3) / 3000
    assert all(share == pytest.approx(1 / 3, abs=0.04) for share in shares.tolist())


def from_features(metric, reals, fakes):
    return METRICS[metric]().measure(FeatureSet(reals), FeatureSet(fakes, logits=fakes))


def test_no_interval_is_without_width_at_the_ends_of_the_range_or_of_constant_images():
    source = torch.Generator().manual_seed(0)
    reals, within, away = (torch.randn(50, 8, generator=source) * scale for scale in (1, 0.1, 1))
    for fakes, ends in ((within, {"precision": 1}), (away + 100, {"recall": 0, "density": 0, "coverage": 0})):
        found = {row.name: row for row in from_features("prc", reals, fakes)}
        for name, end in ends.items():
            assert found[name].value == end
            assert abs((found[name].interval.low + found[name].interval.high) / 2 - end) > 0.02
    for metric in METRICS:
        for row in from_features(metric, torch.ones(60, 3), torch.ones(60, 3)):
            assert row.interval is None or row.interval.low < row.interval.high


def test_density_and_coverage_have_open_balls_where_precision_and_recall_have_closed_ones():
    rows = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    values = {row.name: row.value for row in from_features("prc", rows, rows)}
    assert values == {"precision": 1, "recall": 1, "density": 1, "coverage": 1}
    twice = torch.cat([rows] * 6)  # balls of radius 0, which hold nothing if they are open
    values = {row.name: row.value for row in from_features("prc", twice, twice)}
    assert values == {"precision": 1, "recall": 1, "density": 0, "coverage": 0}
