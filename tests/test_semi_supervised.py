"""Few labels, many images: whose labels are used, what is never shown, and a classifier of K + 1 classes."""

import json
import re

import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax

from ganforge import DataSpec, OptionError, Pair, Step
from ganforge.builtin.avatars import Avatars
from ganforge.builtin.dcgan import DCGANDiscriminator
from ganforge.builtin.losses import Minimax
from ganforge.builtin.mlp import MLPDiscriminator
from ganforge.builtin.semi_supervised import SemiSupervised
from ganforge.config.schema import resolve
from ganforge.config.sources import load_layers
from ganforge.contract.metric import Request
from ganforge.data.splits import choose_labeled, is_held_out
from ganforge.data.store import PackedData
from ganforge.evaluation.metrics import discriminator_accuracy
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training.loading.sampler import Batches
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator

CPU = torch.device("cpu")
SPEC = DataSpec((1, 8, 8), ("cat", "dog", "owl"))


def data(count=90, labelled=True):
    """Images with their index in the first two pixels, of classes 0, 1, 2 in turn."""
    examples = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    examples[:, 0, 0, 0], examples[:, 0, 0, 1] = torch.arange(count) // 256, torch.arange(count) % 256
    labels = torch.arange(count) % 3 if labelled else None
    return PackedData("animals", examples, labels, SPEC.class_names if labelled else (), "0" * 64)


def indices_of(images):
    pixels = ((images[:, 0, 0, :2] + 1) * 127.5).round().long()
    return pixels[:, 0] * 256 + pixels[:, 1]


# Whose labels are used, and what is never shown.


def test_about_the_share_is_held_out_whatever_the_count():
    held_out = is_held_out(20_000, 0.1)
    # Five deviations of a binomial of 20,000 draws.
    assert abs(held_out.double().mean() - 0.1) < 5 * (0.1 * 0.9 / 20_000) ** 0.5
    assert torch.equal(is_held_out(500, 0.1), held_out[:500])
    assert not is_held_out(500, 0).any()
    assert (is_held_out(20_000, 0.3) >= held_out).all()


def test_as_many_of_each_class_are_labelled_and_the_seed_says_which():
    labels = data().labels
    chosen = choose_labeled(labels, 3, 10, seed=4)
    assert torch.bincount(labels[chosen]).tolist() == [4, 3, 3]
    assert len(chosen.unique()) == 10
    assert torch.equal(chosen, choose_labeled(labels, 3, 10, seed=4))
    assert not torch.equal(chosen, choose_labeled(labels, 3, 10, seed=5))


def test_batches_never_show_what_is_held_out_and_show_all_the_rest():
    batches = Batches(data(), 1, CPU, holdout=0.25)
    shown = (~is_held_out(90, 0.25)).nonzero()[:, 0]
    assert 0 < len(shown) < 90
    served = batches.indices(0, 3 * len(shown))
    assert torch.equal(served.bincount(minlength=90)[shown], torch.full((len(shown),), 3))
    assert len(served) == 3 * len(shown)


def test_only_the_chosen_labels_reach_the_training():
    batches = Batches(data(), 1, CPU, holdout=0.25, num_labels=6)
    assert batches.read(0, 16)[1] is None
    seen, labels = zip(*(batches.read_labeled(start, 16) for start in range(0, 320, 16)), strict=True)
    seen, labels = indices_of(torch.cat(seen)), torch.cat(labels)
    assert torch.equal(labels, seen % 3)
    assert torch.bincount(seen.unique() % 3).tolist() == [2, 2, 2]
    assert not is_held_out(90, 0.25)[seen].any()
    again = Batches(data(), 1, CPU, holdout=0.25, num_labels=6).read_labeled(160, 16)[0]
    assert torch.equal(indices_of(again), seen[160:176])


def test_all_labels_are_used_unless_told_otherwise():
    batches = Batches(data(), 1, CPU)
    assert torch.equal(batches.read(0, 16)[1], batches.indices(0, 16) % 3)
    assert batches.read_labeled(0, 16) is None


@pytest.mark.parametrize(
    ("count", "labelled", "options", "message"),
    [
        (90, True, {"num_labels": 2}, "training.labels: 2 is too small"),
        (90, True, {"num_labels": 93}, "training.labels: 93 is too large: class number 0 has only 30 examples"),
        (90, False, {"num_labels": 10}, "animals has no classes"),
        (1, True, {"holdout": 0.999}, "leaves no training examples of 1"),
    ],
)
def test_what_cannot_be_is_refused(count, labelled, options, message):
    with pytest.raises(OptionError, match=message):
        Batches(data(count, labelled), 0, CPU, **options)


# K + 1 classes.


@pytest.mark.parametrize("network", [DCGANDiscriminator, MLPDiscriminator])
def test_the_loss_is_the_cross_entropy_of_a_softmax_with_one_class_more(network):
    torch.manual_seed(0)
    size = {"width": 4, "normalization": "none"} if network is DCGANDiscriminator else {"hidden": (16,), "dropout": 0.0}
    discriminator = network(SPEC, conditioning="joint", **size).double()
    real, fake = torch.randn(5, 1, 8, 8).double(), torch.randn(7, 1, 8, 8).double()

    def log_probabilities(images):
        scores = discriminator.classify(discriminator.features(images))
        return log_softmax(torch.cat([scores, torch.zeros(len(images), 1)], 1), 1)

    # Salimans 2016, section 5: "real" is to be of any of the K classes, "generated" of the last.
    expected = -log_probabilities(real)[:, :3].logsumexp(1).mean() - log_probabilities(fake)[:, 3].mean()
    found = Minimax().discriminator(Pair(discriminator(real), discriminator(fake)))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("network", [DCGANDiscriminator, MLPDiscriminator])
def test_a_network_without_a_logit_of_its_own_tells_it_no_minibatch_statistics(network):
    with pytest.raises(ValueError, match="minibatch=deviation .* omit one of them"):
        network(SPEC, conditioning="joint", minibatch="deviation")


def step_of(discriminator, labelled=None, labels=None):
    images = Pair(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8))
    return Step(None, discriminator, images=images, latents=torch.zeros(4, 1), labels=labels, labelled=labelled)


def test_the_term_is_the_cross_entropy_of_the_few_and_of_all_where_all_are_known():
    discriminator = MLPDiscriminator(SPEC, hidden=(16,), dropout=0.0, conditioning="joint")
    few, labels = torch.randn(6, 1, 8, 8), torch.tensor([0, 1, 2, 2, 1, 0])
    step = step_of(discriminator, (few, labels))
    expected = cross_entropy(discriminator.classify(discriminator.features(few)), labels)
    torch.testing.assert_close(SemiSupervised().discriminator(step), expected)
    step = step_of(discriminator, labels=torch.tensor([0, 1, 2, 0]))
    scores = discriminator.classify(discriminator.features(step.images.real))
    torch.testing.assert_close(SemiSupervised().discriminator(step), cross_entropy(scores, step.labels))


def test_without_classes_or_classifier_the_term_says_what_it_lacks():
    with pytest.raises(OptionError, match="the data have no classes"):
        SemiSupervised().discriminator(step_of(MLPDiscriminator(SPEC, hidden=(8,), conditioning="joint")))
    with pytest.raises(OptionError, match="has no classifier"):
        SemiSupervised().discriminator(step_of(torch.nn.Identity()))


# From the command line.

TRAIN = ["train", "--arch", "semi-supervised", "--data", "avatars", "--resolution", "8", "--images", "64"]
TRAIN += ["--batch", "16", "--device", "cpu"]
TRAIN += ["--set", "data.count=400", "--set", "generator.width=4", "--set", "discriminator.width=4"]


def test_a_run_reports_the_accuracy_on_what_it_held_out(run, here):
    code, out, err = run(*TRAIN, "--set", "training.labels=16")
    assert code == 0, err
    folder = out.strip()
    assert re.search(r"discriminator/semi-supervised", (here / folder / "metrics.jsonl").read_text())
    code, out, err = run("eval", "--discriminator-accuracy", "--json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert row == json.loads((here / folder / "evaluations.jsonl").read_text())
    assert (row["metric"], row["better"], row["circumstances"]["seed"]) == ("discriminator-accuracy", "higher", 0)
    assert row["interval"]["low"] < row["value"] < row["interval"]["high"]
    protocol, found = row["protocol"], row["details"]
    held_out = is_held_out(400, 0.1)
    assert (protocol["num_labels"], found["images"], protocol["num_examples"]) == (16, 64, int(held_out.sum()))
    # By class, weighted with the classes' sizes, it is the same again; the avatars say what their classes are.
    known = Avatars.attributes(torch.arange(400)[held_out])
    sizes = torch.bincount(known["smile"] + 2 * known["hat"] + 4 * known["glasses"], minlength=8).double()
    assert sum(
        found["by_class"][name] * size for name, size in zip(Avatars.class_names, sizes.tolist(), strict=True)
    ) == pytest.approx(row["value"] * len(known["smile"]))


def test_a_trained_classifier_is_right_about_what_it_never_saw(tmp_path):
    """Brightness gives the class, so a few steps of the supervised term are enough."""
    examples = (torch.arange(300) % 3 * 100)[:, None, None, None].expand(-1, 1, 8, 8).to(torch.uint8).contiguous()
    packed = PackedData("shades", examples, torch.arange(300) % 3, SPEC.class_names, "0" * 64)
    settings = ["training.holdout=0.2", "training.labels=6", "training.batch=12", "optimizer.discriminator_lr=0.01"]
    registry = Registry.installed()
    networks = {
        "generator": {"name": "mlp", "hidden": (8,)},
        "discriminator": {"name": "mlp", "hidden": (32,), "conditioning": "joint", "dropout": 0.0},
    }
    config = resolve(registry, {"recipe": "semi-supervised", **networks}, *load_layers(None, None, [], settings))
    folder = RunFolder.create(tmp_path, "shades")
    folder.write_config(config.tree())
    state = build_state(config, registry, packed.spec, CPU)
    batches = Batches(packed, 0, CPU, holdout=0.2, num_labels=6)
    for index in range(60):
        real, labels = batches.read(12 * index, 12)
        state.apply_schedules(config.optimizer)
        labelled = batches.read_labeled(12 * index, 12)
        batch = Batch(real, torch.zeros(12, 100), labels, labelled)
        step_discriminator(state, [(batch, torch.rand(12, 1, 8, 8) * 2 - 1)], index)
    generator = {"name": "dcgan", "options": {}, "plugin": "dcgan"}
    made_for = {"shape": list(packed.spec.shape), "class_names": list(packed.spec.class_names)}
    card = {
        "kind": "checkpoint", "images": 720, "fingerprint": "0" * 64, "seconds": 1.0, "ticked": 720,
        "seconds_ticked": 1.0, "generator": {"generator": generator, "data": made_for},
    }  # fmt: skip
    save_tensors(folder.checkpoint_path(720), state.tensors(), card)
    result = discriminator_accuracy.measure(TrainedRun(folder, state.ema, {}, packed, None, registry), Request())
    found = result.found
    assert found.accuracy == 1.0
    assert found.by_class == {"cat": 1.0, "dog": 1.0, "owl": 1.0}
    assert "from 6 labels" in result.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["training.holdout=0"], "has no held-out examples"),
        (["discriminator.conditioning=none", "regularizers.semi-supervised.weight=0"], "does not classify"),
    ],
)
def test_a_run_that_has_no_such_accuracy_says_why(run, here, settings, message):
    code, _, err = run(*TRAIN, "--set", "training.labels=16", *[part for each in settings for part in ("--set", each)])
    assert code == 0, err
    code, out, err = run("eval", "--discriminator-accuracy")
    assert (code, out) == (2, "")
    assert message in err


def test_networks_that_ask_for_classes_are_refused_before_anything_is_written(run, here):
    code, _, err = run(*TRAIN, "--set", "training.labels=16", "--set", "generator.conditioning=input")
    assert code == 2
    assert "training.labels=16 leaves most examples without a label" in err
    assert not (here / "runs").exists()


def test_too_many_labels_are_refused_before_anything_is_written(run, here):
    code, _, err = run(*TRAIN, "--set", "training.labels=400")
    assert code == 2
    assert "is too large" in err
    assert not (here / "runs").exists()
