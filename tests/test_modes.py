"""Modes are counted as the formulas say, stacked digits are what they claim, and the classifier is to be trusted."""

import json
import math
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.builtin.gaussians import Grid25, Ring8
from ganforge.builtin.stacked_mnist import StackedMnist
from ganforge.contract.errors import CheckpointError, DataError, OptionError
from ganforge.core.images import to_uint8
from ganforge.data import open_data, pack_data
from ganforge.data.packer import pack
from ganforge.data.splits import is_held_out
from ganforge.evaluation import classifier as classifier_module
from ganforge.evaluation.classifier import (
    cached_classifier,
    class_accuracy,
    load_classifier,
    train_classifier,
)
from ganforge.evaluation.metrics.mode_coverage import (
    HasModes,
    HasStackedModes,
    mode_coverage,
    mode_numbers,
    reverse_kl,
    stacked_coverage,
)
from ganforge.runs.checkpoint import save_tensors

CORNERS = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]])


# Coverage


def test_samples_on_all_centres_cover_all_modes_evenly():
    found = mode_coverage(CORNERS.repeat(5, 1), CORNERS, sigma=0.1)
    assert (found.num_covered, found.num_modes, found.high_quality, found.reverse_kl) == (4, 4, 1.0, 0.0)
    assert found.counts == (5, 5, 5, 5)


@pytest.mark.parametrize(("covered", "expected"), [(1, math.log(4)), (2, math.log(2)), (3, math.log(4 / 3))])
def test_missing_modes_cost_the_logarithm_of_what_is_missing(covered, expected):
    found = mode_coverage(CORNERS[:covered].repeat(7, 1), CORNERS, sigma=0.1)
    assert found.num_covered == covered
    assert found.reverse_kl == pytest.approx(expected, abs=1e-12)


def test_three_sigma_is_within_and_the_next_float64_is_not():
    edge = torch.tensor([[1.5]], dtype=torch.float64)
    beyond = torch.nextafter(edge, torch.tensor(2.0, dtype=torch.float64))
    center = torch.zeros(1, 1, dtype=torch.float64)
    for sign in (1, -1):
        assert mode_coverage(sign * edge, center, sigma=0.5).num_covered == 1
        assert mode_coverage(sign * beyond, center, sigma=0.5).num_covered == 0


def test_what_is_small_against_the_distance_from_the_origin_is_not_lost():
    center = torch.tensor([[1e8, 1e8]], dtype=torch.float64)
    offsets = torch.tensor([[0.2, 0.0], [0.4, 0.0], [0.0, -0.2]], dtype=torch.float64)
    assert mode_coverage(center + offsets, center, sigma=0.1).counts == (2,)


@pytest.mark.parametrize("junk", [1e3, math.nan, math.inf])
def test_junk_covers_nothing_and_has_no_divergence(junk):
    found = mode_coverage(torch.full((6, 2), junk), CORNERS, sigma=0.1)
    assert (found.num_covered, found.high_quality, found.reverse_kl) == (0, 0.0, None)


def test_a_sample_counts_for_its_nearest_mode_only():
    found = mode_coverage(torch.tensor([[0.9], [0.6]]), torch.tensor([[0.0], [1.0]]), sigma=1.0)
    assert found.counts == (0, 2)


def test_true_samples_are_of_high_quality_as_often_as_the_closed_form_says():
    for dataset in (Ring8(count=50_000), Grid25(count=50_000)):
        points = torch.stack([point for point, _ in dataset.__getitems__(range(len(dataset)))])
        found = mode_coverage(points, dataset.centers, dataset.sigma)
        assert found.num_covered == len(dataset.centers)
        assert found.high_quality == pytest.approx(1 - math.exp(-4.5), abs=0.002)  # chi-squared of 2 degrees


def test_mean_and_deviation_are_told_on_a_line_only():
    samples = torch.tensor([[1.0], [2.0], [6.0]])
    found = mode_coverage(samples, torch.zeros(1, 1), sigma=1.0)
    assert (found.mean, found.deviation) == (3.0, pytest.approx(np.std([1, 2, 6])))
    assert mode_coverage(CORNERS, CORNERS, sigma=1.0).mean is None
    assert mode_coverage(torch.tensor([[math.nan]]), torch.zeros(1, 1), sigma=1.0).mean is None


@pytest.mark.parametrize("samples", [torch.zeros(3, 3), torch.zeros(0, 2), torch.zeros(2)])
def test_samples_that_do_not_fit_the_centres_are_refused(samples):
    with pytest.raises(DataError, match=r"\[N, D\] and \[K, D\]"):
        mode_coverage(samples, CORNERS, sigma=1.0)


def test_reverse_kl_equals_an_independent_computation():
    counts = np.random.default_rng(0).integers(0, 40, 1000)
    counts[::7] = 0
    shares = counts[counts > 0] / counts.sum()
    expected = math.log(1000) + sum(share * math.log(share) for share in shares)
    assert reverse_kl(torch.from_numpy(counts)) == pytest.approx(expected, abs=1e-12)
    assert reverse_kl([0, 0]) is None


def test_combinations_are_numbered_as_digits_are_read():
    labels = torch.tensor([[3, 1, 4], [0, 0, 7], [3, 1, 4]])
    assert mode_numbers(labels, 10).tolist() == [314, 7, 314]
    found = stacked_coverage(labels, 10)
    assert (found.num_modes, found.num_covered, found.counts[314], found.high_quality) == (1000, 2, 2, None)
    everything = torch.cartesian_prod(*[torch.arange(10)] * 3)
    assert stacked_coverage(everything, 10).num_covered == 1000
    assert stacked_coverage(everything, 10).reverse_kl == pytest.approx(0, abs=1e-12)
    with pytest.raises(DataError, match="do not fit 4 classes"):
        stacked_coverage(labels - 3, 4)


# Stacked digits


def picture(label, index, edge=12):
    """A bar whose place is the class, on noise."""
    pixels = np.random.default_rng([label, index]).integers(0, 120, (edge, edge), dtype=np.uint8)
    pixels[:, 3 * label : 3 * label + 3] = 255
    return pixels


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Three "digits" with 60 images each, as folders, zip and packed folder."""
    root = tmp_path_factory.mktemp("digits")
    with zipfile.ZipFile(root / "digits.zip", "w") as archive:
        for label in range(3):
            (root / "folders" / str(label)).mkdir(parents=True)
            for index in range(60):
                path = root / "folders" / str(label) / f"{index:03d}.png"
                Image.fromarray(picture(label, index)).save(path)
                archive.write(path, f"{label}/{path.name}")
    pack_data(str(root / "folders"), root / "packed")
    return root


@pytest.fixture(scope="module")
def easy(digits):
    return open_data(str(digits / "folders"))


@pytest.fixture(scope="module")
def trained(easy):
    return train_classifier(easy, seed=1, epochs=4)


@pytest.mark.parametrize("form", ["folders", "digits.zip", "packed"])
def test_channels_equal_the_digits_that_they_claim_to_be(digits, form):
    dataset = StackedMnist(digits=str(digits / form), count=50, seed=3)
    assert isinstance(dataset, HasStackedModes)
    assert not isinstance(dataset, HasModes)
    sources, triples = (function(torch.arange(50)) for function in (dataset.sources, dataset.triples))
    for index in range(50):
        image = dataset[index]
        assert image.shape == (12, 12, 3)
        for channel in range(3):
            label = int(triples[index, channel])
            number = int(sources[index, channel])
            assert number // 60 == label
            assert np.array_equal(image[:, :, channel], picture(label, number % 60))
    assert len(triples.unique(dim=0)) > 10


def test_all_forms_of_the_same_digits_give_the_same_images(digits):
    packed = [
        pack(StackedMnist(digits=str(digits / form), count=20), "x", title="x")
        for form in ("folders", "digits.zip", "packed")
    ]
    assert len({data.fingerprint for data in packed}) == 1
    assert packed[0].labels is None
    assert packed[0].spec.shape == (3, 12, 12)


def test_an_image_depends_on_the_seed_and_its_number_alone(digits):
    few, many, other = (
        StackedMnist(digits=str(digits / "packed"), count=count, seed=seed)
        for count, seed in ((10, 0), (90, 0), (10, 1))
    )
    assert all(np.array_equal(few[index], many[index]) for index in range(10))
    assert np.array_equal(few.__getitems__([7, 2])[0], few[7])
    assert not all(np.array_equal(few[index], other[index]) for index in range(10))


def test_the_cache_key_follows_the_digits_the_count_and_the_seed(digits, tmp_path):
    folder = str(digits / "folders")
    keys = [
        StackedMnist(digits=where, count=count, seed=seed).cache_key()
        for where, count, seed in (
            (folder, 5, 0), (folder, 6, 0), (folder, 5, 1), (str(digits / "digits.zip"), 5, 0), ("", 5, 0)
        )
    ]  # fmt: skip
    assert len(set(keys)) == 5
    assert StackedMnist(digits=folder, count=5).cache_key() == keys[0]
    (tmp_path / "0").mkdir()
    Image.fromarray(picture(0, 0)).save(tmp_path / "0" / "a.png")
    before = StackedMnist(digits=str(tmp_path)).cache_key()
    Image.fromarray(picture(1, 0)).save(tmp_path / "0" / "b.png")
    assert StackedMnist(digits=str(tmp_path)).cache_key() != before


def test_digits_that_cannot_be_had_are_one_line(digits, tmp_path):
    with pytest.raises(DataError, match="absent: no such file"):
        StackedMnist(digits=str(tmp_path / "absent"))
    for empty in (tmp_path, digits / "folders" / "0"):
        with pytest.raises(DataError, match="holds no images|have no classes"):
            StackedMnist(digits=str(empty))[0]
    (tmp_path / "alone" / "7").mkdir(parents=True)
    (tmp_path / "alone" / "8").mkdir(parents=True)
    Image.fromarray(picture(0, 0)).save(tmp_path / "alone" / "7" / "a.png")
    with pytest.raises(DataError, match="holds no images|have no classes"):
        StackedMnist(digits=str(tmp_path / "alone"))[0]
    Image.fromarray(picture(0, 0, edge=14)).save(tmp_path / "alone" / "8" / "b.png")
    with pytest.raises(DataError, match="differ in size"):
        StackedMnist(digits=str(tmp_path / "alone"))[0]
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(DataError, match="cannot be opened"):
        StackedMnist(digits=str(tmp_path / "broken.zip"))[0]
    with pytest.raises(OptionError, match="count=0 is too small"):
        StackedMnist(count=0)


# The classifier


def test_a_classifier_learns_an_easy_set_and_tells_its_held_out_accuracy(trained, easy):
    assert trained.accuracy > 0.9
    unseen = is_held_out(len(easy), 0.1)
    assert trained.num_held_out == int(unseen.sum()) > 5
    assert class_accuracy(trained, easy.examples[unseen], easy.labels[unseen]) == trained.accuracy
    assert class_accuracy(trained, easy.examples, (easy.labels + 1) % 3) < 0.1


def test_held_out_images_are_not_trained_on(easy):
    unseen = is_held_out(len(easy), 0.1)
    other = easy.examples.clone()
    other[unseen] = 0
    changed = type(easy)("x", other, easy.labels, easy.class_names, "x")
    weights = [train_classifier(each, epochs=1).network.state_dict() for each in (easy, changed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_same_seed_gives_the_same_classifier_and_leaves_the_random_state_alone(trained, easy):
    state = torch.get_rng_state()
    again, other = (train_classifier(easy, seed=seed, epochs=4) for seed in (1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert again.describe() == trained.describe()
    assert other.describe()["fingerprint"] != trained.describe()["fingerprint"]


def test_a_classifier_survives_its_file(trained, easy, tmp_path):
    trained.save(tmp_path / "c.safetensors")
    loaded = load_classifier(tmp_path / "c.safetensors")
    assert torch.equal(loaded.predict(easy.examples), trained.predict(easy.examples))
    assert loaded.describe() == trained.describe()
    assert (loaded.class_names, loaded.data_fingerprint) == (("0", "1", "2"), easy.fingerprint)


def test_any_flipped_bit_of_the_file_is_refused(trained, tmp_path):
    path = tmp_path / "c.safetensors"
    trained.save(path)
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    accuracy = content.index(b"accuracy") + 13  # a digit of the number behind it
    spread = np.linspace(0, len(content) - 1, 25).astype(int).tolist()
    for position in [*range(8, 8 + header, 97), accuracy, *spread, len(content) - 1]:
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        with pytest.raises(CheckpointError):
            load_classifier(path)
    path.write_bytes(content)
    load_classifier(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    save_tensors(tmp_path / "g.safetensors", {"x": torch.zeros(2)}, {"kind": "generator"})
    with pytest.raises(CheckpointError, match="holds no classifier but a generator"):
        load_classifier(tmp_path / "g.safetensors")


def test_images_of_another_size_are_refused(trained):
    with pytest.raises(DataError, match=r"\[N, 1, 12, 12\]"):
        trained.predict(torch.zeros(2, 3, 12, 12, dtype=torch.uint8))
    with pytest.raises(DataError, match="one label for each image"):
        class_accuracy(trained, torch.zeros(2, 1, 12, 12, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def test_data_without_classes_train_no_classifier(easy):
    unlabelled = type(easy)("bare", easy.examples, None, (), "x")
    with pytest.raises(DataError, match="cannot be trained on bare"):
        train_classifier(unlabelled)
    few = type(easy)("few", easy.examples[:2], easy.labels[[0, 70]], easy.class_names, "x")
    with pytest.raises(DataError, match="only 2 images"):
        train_classifier(few)


def test_a_cached_classifier_is_trained_once_and_again_if_its_file_is_damaged(easy, tmp_path, monkeypatch):
    first, said = cached_classifier(easy, tmp_path)
    (path,) = tmp_path.iterdir()
    assert "was trained" in said
    assert str(path) in said
    with monkeypatch.context() as patch:
        patch.setattr(classifier_module, "train_classifier", lambda *_, **__: pytest.fail("trained again"))
        again, said = cached_classifier(easy, tmp_path)
    assert again.describe() == first.describe()
    assert "was trained" not in said
    path.write_bytes(path.read_bytes()[:-9])
    again, said = cached_classifier(easy, tmp_path)
    assert "was trained" in said
    assert load_classifier(path).describe() == again.describe() == first.describe()


# The command


MLP = ["--arch", "mlp", "--images", "32", "--batch", "8", "--device", "cpu"]
MLP += ["--set", "generator.hidden=8", "--set", "discriminator.hidden=8"]


def train(run, *arguments):
    code, out, err = run("train", *MLP, *arguments)
    assert code == 0, err
    return out.strip()


def test_the_command_counts_the_modes_of_a_gaussian_run(run, here):
    folder = train(run, "--data", "ring-8", "--set", "data.count=200", "--set", "data.sigma=0.3")
    code, out, err = run("eval", "--modes", "--json", "--samples", "300", "--seed", "5")
    assert code == 0, err
    rows = json.loads(out)
    assert [json.loads(line) for line in (here / folder / "evaluations.jsonl").read_text().splitlines()] == rows
    coverage = rows[0]["details"]["coverage"]
    samples = ganforge.generate(ganforge.load(folder), 300, seed=5)
    expected = mode_coverage(samples, Ring8().centers, 0.3)
    assert coverage["counts"] == list(expected.counts)
    assert sum(expected.counts) > 0
    assert coverage["num_modes"] == 8
    assert [(row["metric"], row["value"]) for row in rows] == [
        ("modes", expected.num_covered),
        ("modes-reverse-kl", expected.reverse_kl),
    ]
    assert (rows[0]["circumstances"]["seed"], rows[0]["protocol"]["num_samples"]) == (5, 300)
    assert "KL(generated || uniform)" in rows[0]["protocol"]["protocol"]
    again = json.loads(run("eval", "--modes", "--json", "--samples", "300", "--seed", "5")[1])
    assert again[0]["details"]["coverage"] == coverage
    _, words, err = run("eval", "--modes")
    assert holds(words, "of 8", "of 2500 samples", "reverse KL")
    assert "evaluations.jsonl" in err


def holds(text, *parts):
    return all(part in text for part in parts)


def test_the_command_tells_mean_and_deviation_on_a_line(run, here):
    train(run, "--data", "gaussian-1d", "--set", "data.count=200")
    code, out, _ = run("eval", "--modes", "--samples", "100")
    assert code == 0
    assert holds(out, "of 1", "mean", "deviation")


PLUGIN = """
import torch
from ganforge import Dataset, hookimpl

class Corners(Dataset):
    "Two points."
    centers = torch.tensor([[0.0, 0.0], [0.1, 0.0]])
    sigma = 50.0
    def __len__(self):
        return 40
    def __getitem__(self, index):
        return self.centers[index % 2]

@hookimpl
def ganforge_datasets():
    return {"corners": Corners}
"""


def test_a_plugin_that_declares_its_modes_is_counted_too(run, here):
    (here / "corners.py").write_text(PLUGIN)
    train(run, "--plugin", "corners.py", "--data", "corners")
    code, out, err = run("eval", "--modes", "--json", "--plugin", "corners.py")
    assert code == 0, err
    coverage = json.loads(out)[0]["details"]["coverage"]
    assert (coverage["high_quality"], coverage["num_modes"]) == (1.0, 2)


def test_the_command_counts_stacked_modes_with_a_classifier_of_its_own_or_of_a_file(run, here, digits, trained):
    stacked = ["--data", "stacked-mnist", "--set", f"data.digits={digits / 'packed'}", "--set", "data.count=100"]
    train(run, *stacked)
    code, out, err = run("eval", "--modes", "--json", "--samples", "200")
    assert code == 0, err
    assert "a classifier was trained" in err
    own, _ = json.loads(out)
    assert own["details"]["coverage"]["num_modes"] == 27
    assert sum(own["details"]["coverage"]["counts"]) == 200
    assert own["protocol"]["classifier"]["accuracy"] > 0.9
    trained.save(here / "mine.safetensors")
    code, out, err = run("eval", "--modes", "--json", "--samples", "200", "--classifier", "mine.safetensors")
    assert code == 0, err
    assert json.loads(out)[0]["protocol"]["classifier"] == json.loads(json.dumps(trained.describe()))
    images = to_uint8(ganforge.generate(ganforge.load(run_folder(here)), 200))
    labels = torch.stack([trained.predict(images[:, channel : channel + 1]) for channel in range(3)], dim=1)
    assert json.loads(out)[0]["details"]["coverage"]["counts"] == list(stacked_coverage(labels, 3).counts)
    code, _, err = run("eval", "--modes", "--classifier", "absent.safetensors")
    assert (code, err.count("error:")) == (2, 1)
    assert "absent.safetensors" in err


def run_folder(here):
    (folder,) = (here / "runs").iterdir()
    return folder


def test_a_classifier_for_images_of_another_size_is_refused(run, here, digits, trained):
    stacked = ["--data", "stacked-mnist", "--set", f"data.digits={digits / 'packed'}", "--set", "data.count=30"]
    train(run, *stacked, "--resolution", "8")
    trained.save(here / "mine.safetensors")
    code, _, err = run("eval", "--modes", "--samples", "20", "--classifier", "mine.safetensors")
    assert code == 2
    assert "takes images [1, 12, 12], the channels of stacked-mnist are [1, 8, 8]" in err


def test_a_classifier_of_fewer_classes_is_refused(run, here, digits, easy):
    train(run, "--data", "stacked-mnist", "--set", f"data.digits={digits / 'packed'}", "--set", "data.count=30")
    two = easy.labels < 2
    pair = type(easy)("pair", easy.examples[two], easy.labels[two], easy.class_names[:2], "x")
    train_classifier(pair, epochs=1).save(here / "pair.safetensors")
    line = mistake(*run("eval", "--modes", "--classifier", "pair.safetensors")[::2])
    assert "knows 2 classes, the channels of stacked-mnist have 3" in line


def mistake(code, err):
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


def test_other_data_are_refused_in_one_line_that_says_which_will_do(run, here, image_folder):
    train(run, "--data", image_folder / "cat")
    line = mistake(*run("eval", "--modes")[::2])
    assert holds(line, "the modes of", "ring-8", "stacked-mnist")
    assert not (run_folder(here) / "evaluations.jsonl").exists()


def test_flags_that_do_not_go_together_are_refused(run, here):
    train(run, "--data", "ring-8", "--set", "data.count=50")
    for flags, said in (
        (["--fid", "--classifier", "x"], "--fid does not use it"),
        (["--fid", "--kid", "--classifier", "x"], "--fid and --kid do not use it"),
        (["--modes", "--inception-weights", "x"], "--modes does not use it"),
        (["--modes", "--extractor", "classifier"], "--extractor classifier: --modes does not use it"),
        (["--modes", "--split", "held-out"], "--split held-out: --modes does not use it"),
        (["--modes", "--classifier", "x"], "ring-8 needs none"),
        (["--fid"], "ring-8 holds vectors"),
        ([], "no metric was named - choose from: --fid, "),
    ):
        assert said in mistake(*run("eval", *flags)[::2])
