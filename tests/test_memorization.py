"""Subjects with and without copies of training images are distinguished; the picture shows copies and originals."""

import io
import json
import math

import numpy as np
import pytest
import torch
from marks import MIXED, read_mark
from PIL import Image
from torch import nn

from ganforge import Extractor
from ganforge.contract.errors import DataError, OptionError
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData
from ganforge.evaluation.metrics import memorization as metric
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference
from ganforge.evaluation.metrics.memorization import check_memorization, describe_memorization, measure_memorization
from ganforge.evaluation.reporter import SILENT, Reporter
from ganforge.evaluation.results.result import Evaluation
from ganforge.evaluation.statistics import nearest, share_interval
from ganforge.evaluation.statistics.memorization import compare_distances
from ganforge.evaluation.subjects.subject import Subject

SIZE = 4
HELD_OUT = "held-out"
OTHERS = "training, each without itself"


class Pixels(Extractor):
    """The pixels themselves, so that equal images, and only they, have the distance 0."""

    label, preprocessing, weights_sha256 = "pixels", "none", "0" * 64

    def forward(self, images):
        return images.flatten(1).float() / 255, None


class Album(Subject):
    """Draws given images, and records the requested indices."""

    num_classes = 0

    def __init__(self, images, home):
        self.images, self.home, self.asked = images, home, []
        self.shape, self.most = tuple(images.shape[1:]), len(images)
        self.about = {"kind": "images", "name": "album", "digest": str(hash(images.numpy().tobytes()))}

    def draw(self, start, count, *, seed, labels, truncation):
        self.asked.append((start, count))
        return self.images[start : start + count]


def paint(count, seed, channels=1):
    """Noise, 4 x 4: two images are never the same by chance."""
    source = np.random.default_rng(seed)
    return torch.from_numpy(source.integers(0, 200, (count, channels, SIZE, SIZE), dtype=np.uint8))


def pack(images):
    return PackedData("noise", images, None, (), str(hash(images.numpy().tobytes())))


def compare(images, data, home, *, holdout=0.0, reporter=SILENT, **chosen):
    return Comparison(
        Album(images, home),
        Reference.choose(data, holdout=holdout, **chosen),
        Pixels(),
        Protocol(samples=len(images)),
        device=torch.device("cpu"),
        cache=home / "cache",
        reporter=reporter,
    )


def measure(*arguments, home, **named):
    (row,) = measure_memorization(compare(*arguments, home, **named), home / "nearest.png")
    return row


@pytest.fixture(scope="module")
def data():
    return pack(paint(2000, seed=1))


def split(data, holdout):
    held_out = is_held_out(len(data), holdout)
    return data.examples[~held_out], data.examples[held_out], (~held_out).nonzero()[:, 0]


def distances(first, second):
    """All distances of images in [0, 1], by differences."""
    first, second = (each.flatten(1).double() / 255 for each in (first, second))
    return (first[:, None] - second).square().sum(dim=2).sqrt()


# The rate


@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_a_subject_that_copies_training_images_has_the_rate_one_and_names_the_very_images(data, tmp_path, holdout):
    training, _, indices = split(data, holdout)
    chosen = torch.arange(7, 607, 6)
    row = measure(training[chosen], data, home=tmp_path, holdout=holdout)
    assert row.value == 1
    assert row.details["distance_of_generated"] == 0
    assert row.details["copying"] < -10
    found = [(each["training_image"], each["distance"]) for each in row.details["closest"]]
    samples = [each["sample"] for each in row.details["closest"]]
    assert found == [(indices[chosen[sample]].item(), 0.0) for sample in samples]
    assert len(samples) == 8


@pytest.mark.parametrize(("holdout", "calibration"), [(0.0, OTHERS), (0.3, HELD_OUT)])
@pytest.mark.slow
def test_a_subject_that_draws_unseen_images_has_about_the_rate_of_the_quantile(data, tmp_path, holdout, calibration):
    row = measure(paint(1000, seed=2), data, home=tmp_path, holdout=holdout)
    assert 0.03 < row.value < 0.07
    assert abs(row.details["copying"]) < 3
    assert row.protocol["calibration"] == calibration
    assert row.protocol["quantile"] == 0.05
    assert any(note.startswith("unseen images have about 0.05") for note in row.notes)


def test_a_subject_that_draws_something_else_has_the_rate_zero(data, tmp_path):
    row = measure(255 - paint(100, seed=3) // 20, data, home=tmp_path)
    assert row.value == 0
    assert row.details["copying"] > 10


def test_half_of_the_copies_is_half_of_the_rate_with_the_interval_of_a_share(data, tmp_path):
    mixed = torch.cat([data.examples[:50], torch.full((50, 1, SIZE, SIZE), 255, dtype=torch.uint8)])
    row = measure(mixed, data, home=tmp_path)
    assert (row.metric, row.value, row.better) == ("memorization_pixels", 0.5, "lower")
    assert row.interval.low < 0.5 < row.interval.high
    assert row.interval.high >= share_interval(0.5, 100).high - 0.01
    assert Evaluation.from_json(json.loads(json.dumps(row.to_json()))) == row


def test_held_out_images_calibrate_as_an_independent_computation_says(data, tmp_path):
    training, held_out, _ = split(data, 0.3)
    samples = paint(200, seed=4)
    row = measure(samples, data, home=tmp_path, holdout=0.3)
    usual = distances(held_out, training).amin(dim=1)
    ours = distances(samples, training).amin(dim=1)
    assert row.details["calibrating"] == len(held_out)
    assert row.details["distance_of_calibrating"] == pytest.approx(usual.mean().item(), rel=1e-6)
    assert row.details["distance_of_generated"] == pytest.approx(ours.mean().item(), rel=1e-6)
    near = (usual - row.details["threshold"]) < 1e-6
    assert near.sum() == math.ceil(0.05 * len(held_out))


def test_without_held_out_images_each_training_image_is_compared_with_all_others(tmp_path):
    images = paint(60, seed=5)
    images[1], images[40], images[41] = images[0], images[30], images[30]  # one of two, and one of three
    data = pack(images)
    row = measure(paint(30, seed=6), data, home=tmp_path)
    apart = distances(images, images).fill_diagonal_(torch.inf).amin(dim=1)
    assert (apart == 0).sum() == 5
    assert row.details["calibrating"] == 60
    assert row.details["distance_of_calibrating"] == pytest.approx(apart.mean().item(), rel=1e-6)


def test_where_a_twentieth_of_the_data_are_twins_a_note_says_that_copies_are_not_told_from_them(tmp_path):
    images = paint(100, seed=7)
    images[50:] = images[:50]
    twins = measure(paint(30, seed=8), pack(images), home=tmp_path)
    assert (twins.value, twins.details["threshold"]) == (0, 0)
    assert any("equal a training image" in note for note in twins.notes)
    single = measure(paint(30, seed=8), pack(images[:50]), home=tmp_path)
    assert not any("equal a training image" in note for note in single.notes)


def test_only_some_samples_are_searched_and_only_some_images_calibrate(data, tmp_path, monkeypatch):
    monkeypatch.setattr(metric, "MAX_IMAGES", 40)
    shown = torch.cat([data.examples[:40], paint(200, seed=9)])
    for holdout in (0.0, 0.3):
        row = measure(shown, data, home=tmp_path, holdout=holdout)
        assert row.protocol["searched"] == row.details["calibrating"] == 40
        assert row.protocol["num_samples"] == 240
        assert row.interval.low <= row.value <= row.interval.high
        assert 0 < row.value < 1  # some of all: the first may be of one class


def test_images_that_are_left_out_of_the_search_are_told(data, tmp_path):
    row = measure(paint(30, seed=10), data, home=tmp_path, holdout=0.3, count=500)
    trained = len(split(data, 0.3)[0])
    assert f"searched 500 of {trained:,} training images: copies of others are missed" in row.notes
    whole = measure(paint(30, seed=10), data, home=tmp_path, holdout=0.3)
    assert not any("searched" in note for note in whole.notes)


def test_how_far_each_search_is_can_be_watched(data, tmp_path, monkeypatch):
    monkeypatch.setattr(metric, "ROWS", 100)
    seen = {}

    class Bar:
        def __init__(self, title):
            self.steps = seen.setdefault(title, [])

        def __enter__(self):
            return lambda *step: self.steps.append(step)

        def __exit__(self, *_):
            pass

    comparison = compare(paint(250, seed=11), data, tmp_path, holdout=0.3, reporter=Reporter(progress=Bar))
    measure_memorization(comparison, tmp_path / "nearest.png")
    assert seen["nearest training images of samples"] == [(0, 250), (100, 250), (200, 250)]
    assert len(seen) == 4 + 3  # searches, and features of three sets


# The picture


def open_picture(path):
    """Pixels ``[H, W, C]`` as another reader sees them."""
    array = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    return array if array.ndim == 3 else array[:, :, None]


def test_a_picture_is_not_marked_where_that_is_asked(run, here, image_folder):
    small = ["--arch", "mlp", "--images", 8, "--batch", 8, "--set", "generator.hidden=8", "--engine", "eager"]
    assert run("train", "--data", image_folder, "--name", "run", *small)[0] == 0
    asked = ["eval", "--memorization", "--extractor", "random", "--samples", 20]
    picture = here / "runs/00000-run/nearest.png"
    assert run(*asked)[0] == 0
    assert read_mark(picture.read_bytes())["source"] == MIXED
    assert run(*asked, "--no-marking")[0] == 0
    assert read_mark(picture.read_bytes()) == {}


@pytest.mark.parametrize(("known", "digest"), [({}, "ab"), ({"made_of": "cd"}, "cd")])
def test_samples_of_a_generator_beside_training_images_are_marked_as_both(tmp_path, monkeypatch, known, digest):
    about = {"kind": "generator", "name": "run", "digest": "ab", **known}
    monkeypatch.setattr(Album, "origin", {"name": "dcgan"})
    comparison = compare(paint(20, seed=3), pack(paint(40, seed=2)), tmp_path)
    comparison.subject.about = about
    measure_memorization(comparison, tmp_path / "nearest.png")
    mark = read_mark((tmp_path / "nearest.png").read_bytes())
    assert (mark["source"], mark["system"], mark["version"]) == (MIXED, "ganforge dcgan", f"sha256:{digest}")


def tile(picture, row, left):
    top = row * (SIZE + 2)
    return torch.from_numpy(picture[top : top + SIZE, left : left + SIZE].copy()).permute(2, 0, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_shows_suspicious_and_typical_samples_each_before_its_neighbours(tmp_path, channels):
    data, samples = pack(paint(300, seed=12, channels=channels)), paint(51, seed=13, channels=channels)
    samples[17] = data.examples[123]
    measure(samples, data, home=tmp_path)
    picture = open_picture(tmp_path / "nearest.png")
    bar, step = SIZE // 4, SIZE + 2
    half = SIZE + bar + 7 * step - 2
    assert picture.shape == (8 * step - 2, 2 * half + SIZE, channels)
    apart = distances(samples, data.examples)
    order = apart.amin(dim=1).argsort(stable=True).tolist()
    for left, numbers in ((0, order[:8]), (half + SIZE, order[21:29])):
        for row, number in enumerate(numbers):
            assert torch.equal(tile(picture, row, left), samples[number])
            found = [tile(picture, row, left + SIZE + bar + column * step) for column in range(7)]
            near = distances(samples[number : number + 1], torch.stack(found))[0]
            assert near.tolist() == pytest.approx(apart[number].sort().values[:7].tolist(), rel=1e-12)
    assert order[0] == 17
    assert torch.equal(tile(picture, 0, SIZE + bar), data.examples[123])
    assert (picture[:, SIZE : SIZE + bar] == 128).all()
    assert (picture[:, half : half + SIZE] == 128).all()
    assert (picture[SIZE : SIZE + 2, :SIZE] == 0).all()


def test_neighbours_are_those_of_the_training_images_where_others_were_held_out(tmp_path):
    data = pack(paint(300, seed=14))
    training, held_out, _ = split(data, 0.5)
    measure(held_out[:20], data, home=tmp_path, holdout=0.5)
    picture = open_picture(tmp_path / "nearest.png")
    for row in range(8):
        nearest = tile(picture, row, SIZE + SIZE // 4)
        assert (training == nearest).flatten(1).all(dim=1).any()
        assert not torch.equal(nearest, tile(picture, row, 0))


@pytest.mark.slow
def test_fewer_samples_than_rows_are_all_shown(data, tmp_path):
    samples = paint(3, seed=15)
    row = measure(samples, data, home=tmp_path)
    picture = open_picture(tmp_path / "nearest.png")
    assert len(picture) == 3 * (SIZE + 2) - 2
    numbers = [each["sample"] for each in row.details["closest"]]
    assert sorted(numbers) == [0, 1, 2]
    assert all(torch.equal(tile(picture, place, 0), samples[number]) for place, number in enumerate(numbers))


# Words and refusals


@pytest.mark.exhaustive
def test_words_tell_distances_judgement_and_where_the_picture_is(data, tmp_path):
    picture = tmp_path / "nearest.png"
    for samples, judgement in (
        (data.examples[:100], "samples are nearer than these (z = -"),
        (paint(500, seed=2), "samples are as near as these (z = "),
        (torch.full((50, 1, SIZE, SIZE), 255, dtype=torch.uint8), "samples are further away than these (z = "),
    ):
        words = describe_memorization(measure(samples, data, home=tmp_path), picture)
        assert judgement in words
        assert "of 2,000 training images, each without itself" in words
        assert f"{picture}: left the 8 samples nearest to training images, copies before others" in words
    held_out = measure(paint(50, seed=2), data, home=tmp_path, holdout=0.3)
    assert f"of {held_out.details['calibrating']} held-out images: samples are" in describe_memorization(
        held_out, picture
    )


@pytest.mark.parametrize("part", ["all", "held-out"])
def test_other_images_than_those_of_the_training_are_refused(data, tmp_path, part):
    comparison = compare(paint(30, seed=2), data, tmp_path, holdout=0.3, split=part)
    with pytest.raises(OptionError, match=f"--split {part}: --memorization searches the training images .* train"):
        check_memorization(comparison)
    with pytest.raises(OptionError, match=f"--split {part}"):
        measure_memorization(comparison, tmp_path / "nearest.png")
    assert comparison.subject.asked == []


def test_too_few_images_are_refused(data, tmp_path):
    with pytest.raises(OptionError, match="there are 19 training images .* needs 20"):
        check_memorization(compare(paint(30, seed=2), data, tmp_path, count=19))
    check_memorization(compare(paint(30, seed=2), data, tmp_path, count=20))
    with pytest.raises(OptionError, match="[0-9] held-out images are too few .* larger training.holdout"):
        check_memorization(compare(paint(30, seed=2), data, tmp_path, holdout=0.002))


def test_distances_that_are_known_give_the_same_as_features():
    fakes, held_out, training = (torch.randn(60, 3, generator=torch.Generator().manual_seed(n)) for n in range(3))
    ours, theirs = (torch.cdist(each.double(), training.double()).amin(dim=1) for each in (fakes, held_out))
    found, expected = (
        compare_distances(ours, theirs, quantile=0.1),
        compare_distances(*(nearest(each, training).distances[:, 0] for each in (fakes, held_out)), quantile=0.1),
    )
    assert found.duplicates == expected.duplicates
    assert found.copying == pytest.approx(expected.copying)
    assert found.threshold == pytest.approx(expected.threshold)
    with pytest.raises(DataError, match="quantile of 19 held-out images"):
        compare_distances(ours, theirs[:19])


# The command line


def test_the_command_line_writes_row_and_picture_and_refuses_in_one_line(image_folder, here, run):
    torch.jit.trace(nn.Flatten(), torch.zeros(2, 3, 16, 16)).save("pixels.pt")
    asked = ("eval", image_folder / "cat", "--data", image_folder, "--memorization", "--extractor", "pixels.pt")
    code, out, err = run(*asked)
    assert code == 0, err
    assert "memorization_pixels-" in out
    assert str(image_folder / "nearest.png") in out
    (line,) = (image_folder / "evaluations.jsonl").read_text().splitlines()
    row = json.loads(line)
    assert (row["value"], row["protocol"]["calibration"]) == (1, OTHERS)
    assert open_picture(image_folder / "nearest.png").shape[0] == 8 * 18 - 2
    assert read_mark((image_folder / "nearest.png").read_bytes()) == {}  # of images of unknown origin
    code, _, err = run(*asked, "--split", "all")
    assert code == 2
    assert err.splitlines()[-1].startswith("error: --split all: --memorization searches the training images")
