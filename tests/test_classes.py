"""Conditional accuracy and mode coverage of known generators and classifiers."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganforge.builtin.avatars import Avatars
from ganforge.contract.errors import OptionError, PluginError
from ganforge.contract.metric import Request
from ganforge.data.store import PackedData
from ganforge.evaluation.classes import attribute_bits, attribute_names, list_worst
from ganforge.evaluation.classifier import Classifier, train_classifier
from ganforge.evaluation.metrics import conditional_accuracy as obedience
from ganforge.evaluation.metrics import modes
from ganforge.evaluation.metrics.conditional_accuracy import conditional_accuracy, is_conditional
from ganforge.evaluation.metrics.mode_coverage import HasAttributes, HasModes, class_coverage, reverse_kl
from ganforge.evaluation.subjects.runs import TrainedRun

NAMES = tuple("abcdefgh")


class Levels(nn.Module):
    """Reads the class of a gray image from its brightness."""

    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        level = (images.mean(dim=(1, 2, 3)) + 1) / 2 * (self.num_classes - 1)
        return -(level[:, None] - torch.arange(self.num_classes)).abs()


class Painter(nn.Module):
    """Draws the class as a constant brightness; one that is listed as confused is drawn as another."""

    z_dim = 2

    def __init__(self, num_classes, confused=None, conditional=True, noisy=False):
        super().__init__()
        drawn = torch.arange(num_classes)
        for asked, instead in (confused or {}).items():
            drawn[asked] = instead
        self.drawn = drawn
        self.conditional = conditional
        self.noisy = noisy
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, z, labels=None):
        shown = self.drawn[labels] if self.conditional else (z[:, 0] > 0).long()
        level = shown / (len(self.drawn) - 1) * 2 - 1
        images = level.view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
        return images + 1e-3 * torch.randn(images.shape) if self.noisy else images


def painted_run(counts=(5,) * 8, dataset=None, **options):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    examples = torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8)
    data = PackedData("painted", examples, labels, NAMES[: len(counts)], "f" * 64)
    return TrainedRun(None, Painter(len(counts), **options), {"digest": "g" * 64}, data, dataset, None)


@pytest.fixture
def judged(monkeypatch):
    """The classifier of every run is one that is never wrong."""

    def opened(run, file, reporter):
        return Classifier(
            network=Levels(run.data.spec.num_classes), shape=(1, 4, 4), class_names=run.data.class_names, accuracy=1.0,
            num_held_out=3, data_name="painted", data_fingerprint="f" * 64, seed=0, epochs=1,
        )  # fmt: skip

    for module in ("conditional_accuracy", "modes"):
        monkeypatch.setattr(f"ganforge.evaluation.metrics.{module}.open_for_classes", opened)


def accuracy_of(run, count=16):
    return obedience.measure(run, Request(count=count))


def modes_of(run):
    return modes.measure(run, Request(count=4000)).found


def holds(text, *parts):
    return all(part in text for part in parts)


# Obedience


def test_a_generator_that_obeys_is_right_in_every_class(judged):
    result = accuracy_of(painted_run())
    assert result.found.accuracy == 1.0
    assert [(each.name, each.num_asked, each.accuracy) for each in result.found.classes] == [(n, 2, 1.0) for n in NAMES]
    assert result.found.all_attributes is None
    assert result.protocol["num_samples"] == 16


def test_confused_classes_cost_what_they_weigh_and_no_other_class(judged):
    found = accuracy_of(painted_run(confused={1: 0, 6: 2}), count=80).found
    assert found.accuracy == 6 / 8
    assert [each.accuracy for each in found.classes] == [1, 0, 1, 1, 1, 1, 0, 1]


def test_classes_count_alike_however_frequent_they_are_in_the_data(judged):
    found = accuracy_of(painted_run(counts=(1, 97, 1, 1), confused={0: 1}), count=100).found
    assert found.accuracy == 0.75
    assert [each.num_asked for each in found.classes] == [25] * 4


def test_attributes_are_compared_bit_by_bit(judged):
    # 7 (all three) is drawn as 5 (no hat), 0 (none) as 1 (a smile).
    found = accuracy_of(painted_run(confused={7: 5, 0: 1}, dataset=Avatars(count=1)), count=8).found
    assert [(each.name, each.asked, each.unasked) for each in found.attributes] == [
        ("smile", 1.0, 0.25),
        ("hat", 0.75, 0.0),
        ("glasses", 1.0, 0.0),
    ]
    assert (found.all_attributes.asked, found.all_attributes.unasked) == (11 / 12, 1 / 12)


def test_numbers_equal_a_count_in_plain_python():
    asked, read = torch.arange(400) % 4, torch.randint(4, (400,), generator=torch.Generator().manual_seed(0))
    found = conditional_accuracy(asked, read, NAMES[:4], ("x", "y"))
    pairs = list(zip(asked.tolist(), read.tolist(), strict=True))
    assert found.accuracy == pytest.approx(sum(a == b for a, b in pairs) / 400)
    for label, each in enumerate(found.classes):
        assert each.accuracy == pytest.approx(sum(a == b == label for a, b in pairs) / 100)
    for bit, each in enumerate(found.attributes):
        has = [(a >> bit & 1, b >> bit & 1) for a, b in pairs]
        assert each.asked == pytest.approx(sum(a and b for a, b in has) / sum(a for a, _ in has))
        assert each.unasked == pytest.approx(sum(b and not a for a, b in has) / sum(not a for a, _ in has))


def test_a_generator_is_conditional_if_the_same_latents_give_other_images():
    assert is_conditional(Painter(3), 3)
    assert is_conditional(Painter(3, confused={1: 0}), 3)
    assert not is_conditional(Painter(3, conditional=False), 3)
    assert not is_conditional(Painter(3, confused={1: 0, 2: 0}), 3)


def test_noise_that_a_generator_draws_is_not_taken_for_obedience():
    state = torch.get_rng_state()
    assert not is_conditional(Painter(3, conditional=False, noisy=True), 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_asked_for_is_refused(judged):
    vectors = PackedData("points", torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), ("a", "b"), "x")
    for data, said in (
        (vectors, "holds vectors"),
        (PackedData("bare", torch.zeros(4, 1, 4, 4, dtype=torch.uint8), None, (), "x"), "has no classes"),
    ):
        with pytest.raises(OptionError, match=said):
            accuracy_of(TrainedRun(None, Painter(2), {"digest": "g"}, data, None, None))
    with pytest.raises(OptionError, match="7 samples are too few for the 8 classes"):
        accuracy_of(painted_run(), count=7)
    with pytest.raises(OptionError, match="not conditional") as error:
        accuracy_of(painted_run(conditional=False))
    assert holds(error.value.hint, "cgan", "cdcgan", "acgan", "projection")


# Coverage


def test_a_generator_with_the_datas_proportions_has_little_divergence_and_covers_all(judged):
    result = modes_of(painted_run(counts=(10, 30, 60)))
    assert (result.coverage.num_covered, result.coverage.num_modes, result.coverage.high_quality) == (3, 3, None)
    assert 0 <= result.coverage.reverse_kl < 0.003  # expected (K - 1) / 2N = 0.00025
    assert [each.data for each in result.classes] == [0.1, 0.3, 0.6]
    assert [each.generated for each in result.classes] == [count / 4000 for count in result.coverage.counts]
    assert result.attributes == ()


def test_a_generator_of_one_class_costs_the_logarithm_of_its_share(judged):
    coverage = modes_of(painted_run(counts=(10, 30, 60), confused={0: 1, 2: 1})).coverage
    assert (coverage.num_covered, coverage.counts) == (1, (0, 4000, 0))
    assert coverage.reverse_kl == pytest.approx(math.log(1 / 0.3))


def test_an_unconditional_generator_is_counted_too(judged):
    coverage = modes_of(painted_run(conditional=False)).coverage
    assert (coverage.num_covered, sum(coverage.counts)) == (2, 4000)


def test_shares_of_attributes_stand_beside_those_of_the_data(judged):
    # Classes with glasses (4 to 7) are drawn without.
    run = painted_run(counts=(5, 5, 5, 5, 0, 0, 0, 20), confused={7: 3}, dataset=Avatars(count=1))
    shares = {each.name: each for each in modes_of(run).attributes}
    assert {name: each.data for name, each in shares.items()} == {"smile": 0.75, "hat": 0.75, "glasses": 0.5}
    assert shares["glasses"].generated == 0
    assert shares["smile"].generated == pytest.approx(0.75, abs=0.04)


def test_the_divergence_is_taken_to_the_data_and_equals_the_uniform_one_for_balanced_data():
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    q, p = (0.6, 0.3, 0.1), (0.2, 0.3, 0.5)
    expected = sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))
    assert class_coverage(labels, torch.tensor([20, 30, 50])).reverse_kl == pytest.approx(expected, abs=1e-12)
    assert class_coverage(labels, torch.tensor([9, 9, 9])).reverse_kl == reverse_kl([6, 3, 1])


def test_a_class_without_examples_is_no_mode_and_images_of_it_have_no_finite_divergence():
    without = class_coverage(torch.tensor([0, 1]), torch.tensor([5, 5, 0]))
    assert (without.num_modes, without.num_covered, without.reverse_kl) == (2, 2, 0.0)
    strange = class_coverage(torch.tensor([0, 2]), torch.tensor([5, 5, 0]))
    assert (strange.num_modes, strange.num_covered, strange.reverse_kl) == (2, 1, None)
    assert reverse_kl([1, 1], [1, 0]) == math.inf


# Attributes


def test_labels_of_the_avatars_are_the_bits_of_the_attributes_that_they_declare():
    faces = Avatars(count=64, resolution=8)
    assert isinstance(faces, HasAttributes)
    assert not isinstance(faces, HasModes)
    names, known = attribute_names(faces, len(faces.class_names)), faces.attributes(torch.arange(64))
    labels = torch.tensor([label for _, label in faces.__getitems__(list(range(64)))])
    bits = attribute_bits(labels, len(names))
    assert all(torch.equal(bits[:, bit].long(), known[name]) for bit, name in enumerate(names))
    for label, name in enumerate(faces.class_names):
        told = set() if name == "plain" else set(name.split("+"))
        assert told == {names[bit] for bit in range(3) if label >> bit & 1}


def test_attributes_that_do_not_fit_the_classes_are_refused():
    with pytest.raises(PluginError, match="declares 2 attributes, but has 3 classes"):
        attribute_names(SimpleNamespace(attribute_names=("x", "y")), 3)
    assert attribute_names(None, 3) == attribute_names(SimpleNamespace(attribute_names=()), 3) == ()


def test_of_many_classes_the_worst_are_listed():
    first, *lines = list_worst([(f"n{index}", float(index), (index / 100,)) for index in range(50)])
    assert first.strip() == "the worst 20 of 50:"
    assert [line.split()[0] for line in lines] == [f"n{index}" for index in range(49, 29, -1)]


# The command


SMALL = ["--arch", "mlp", "--images", "32", "--batch", "8", "--device", "cpu"]
SMALL += ["--set", "generator.hidden=8", "--set", "discriminator.hidden=8"]
OBEDIENT = [*SMALL, "--set", "generator.conditioning=input", "--set", "discriminator.conditioning=input"]


@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Forty dark and forty bright 8 x 8 images."""
    root = tmp_path_factory.mktemp("shades")
    source = np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 180)):
        (root / name).mkdir()
        for index in range(40):
            pixels = source.integers(low, low + 70, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index}.png")
    return root


def train(run, *arguments):
    code, out, err = run("train", *arguments)
    assert code == 0, err
    return out.strip()


def mistake(code, err):
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert (code, len(lines)) == (2, 1)
    assert "Traceback" not in err
    return lines[0]


def kept(folder):
    return [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]


def test_the_command_measures_obedience_and_keeps_the_result(run, here, shades):
    folder = train(run, *OBEDIENT, "--data", shades)
    flags = ("eval", "--conditional-accuracy", "--samples", "20", "--json")
    code, out, err = run(*flags)
    assert code == 0, err
    assert "a classifier was trained" in err
    (row,) = json.loads(out)
    assert kept(here / folder) == [row]
    assert (row["metric"], row["better"]) == ("conditional-accuracy", "higher")
    assert row["value"] == row["details"]["accuracy"]
    assert row["interval"]["low"] <= row["value"] <= row["interval"]["high"]
    assert [each["name"] for each in row["details"]["classes"]] == ["bright", "dark"]
    assert {"num_samples": 20, "truncation": 1.0}.items() <= row["protocol"].items()
    assert row["circumstances"]["seed"] == 0
    assert "accuracy" in row["protocol"]["classifier"]
    _, out, err = run(*flags)
    assert ("was trained" in err, json.loads(out)[0]["details"]) == (False, row["details"])
    _, words, err = run("eval", "--conditional-accuracy", "--samples", "20")
    assert holds(words, "of 20 images", "dark", "right on held-out")
    assert "evaluations.jsonl" in err
    assert [each["value"] for each in kept(here / folder)] == [row["value"]] * 3


def test_the_command_counts_classes_and_attributes_of_any_labelled_images(run, here):
    data = ["--data", "avatars", "--resolution", "8", "--set", "data.count=200"]
    folder = train(run, *SMALL, *data)
    code, out, err = run("eval", "--modes", "--samples", "30", "--json")
    assert code == 0, err
    rows = json.loads(out)
    assert kept(here / folder) == rows
    assert [row["metric"] for row in rows] == ["modes", "modes-reverse-kl"]
    found = rows[0]["details"]
    assert found["coverage"]["num_modes"] == 8
    assert (rows[0]["value"], rows[1]["value"]) == (found["coverage"]["num_covered"], found["coverage"]["reverse_kl"])
    assert sum(found["coverage"]["counts"]) == 30
    assert [each["name"] for each in found["attributes"]] == ["smile", "hat", "glasses"]
    assert "KL(generated || data)" in rows[0]["protocol"]["protocol"]
    words = run("eval", "--modes", "--samples", "30")[1]
    assert holds(words, "of 8", "KL(generated || data)", "glasses+hat", "attributes")


def test_a_generator_without_labels_is_told_so_before_a_classifier_is_trained(run, here, shades):
    train(run, *SMALL, "--data", shades)
    code, _, err = run("eval", "--conditional-accuracy", "--samples", "20")
    assert "not conditional" in mistake(code, err)
    assert "classifier" not in err


def test_data_without_classes_and_vectors_are_refused_in_one_line(run, here, shades):
    train(run, *SMALL, "--data", shades / "dark")
    assert "has no classes" in mistake(*run("eval", "--conditional-accuracy")[::2])
    train(run, *SMALL, "--data", "ring-8", "--set", "data.count=50")
    assert "vectors" in mistake(*run("eval", "--conditional-accuracy")[::2])


def test_a_file_that_is_damaged_or_of_other_images_is_refused(run, here, shades):
    folder = train(run, *OBEDIENT, "--data", shades)
    pixels = torch.randint(256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 2

    def saved(name, examples, classes):
        train_classifier(PackedData(name, examples, labels, classes, "x"), epochs=1).save(here / f"{name}.safetensors")
        return f"{name}.safetensors"

    (here / "damaged.safetensors").write_bytes(b"no tensors at all")
    cases = (
        (saved("large", pixels.repeat(1, 1, 2, 2), ("bright", "dark")), "takes images [1, 16, 16]"),
        (saved("other", pixels, ("bright", "dim")), "its class 1 is 'dim'"),
        (saved("swapped", pixels, ("dark", "bright")), "its class 0 is 'dark'"),
        (saved("more", pixels, ("bright", "dark", "none")), "knows 3 classes"),
        ("absent.safetensors", "absent.safetensors"),
        ("damaged.safetensors", "damaged.safetensors"),
    )
    for metric in ("--modes", "--conditional-accuracy"):
        for file, said in cases:
            assert said in mistake(*run("eval", metric, folder, "--samples", "10", "--classifier", file)[::2])
    fitting = saved("fitting", pixels, ("bright", "dark"))
    out = run("eval", "--modes", folder, "--samples", "10", "--classifier", fitting, "--json")[1]
    assert json.loads(out)[0]["protocol"]["classifier"]["data_fingerprint"] == "x"
