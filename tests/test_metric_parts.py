"""Metrics are parts: one of a plugin beside the built-in ones, in ``eval`` and in training; and the linear probe."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from ganforge import FeatureMetric, OptionError
from ganforge.builtin.metrics import Fid, Kid
from ganforge.config.schema import resolve
from ganforge.contract.metric import Request
from ganforge.data.store import PackedData
from ganforge.evaluation.metrics import FLAGGED, linear_probe
from ganforge.evaluation.subjects.runs import TrainedRun
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import save_tensors
from ganforge.runs.folder import RunFolder
from ganforge.testing import check_metric
from ganforge.training.state import build_state

CPU = torch.device("cpu")

STRANGER = """
from ganforge import FeatureMetric, Measured, RunMetric, hookimpl

class Gap(FeatureMetric):
    "Distance between mean features."

    better = "lower"

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale

    def measure(self, reals, fakes):
        return self.scale * (reals.features.mean(0) - fakes.features.mean(0)).norm()

class Brightness(RunMetric):
    "Mean of the generated examples."

    def measure(self, run, request, reporter):
        if request.seed == 7:
            raise KeyError("seven")
        batches = list(run.generate(request.count or self.samples, request.seed, request.truncation))
        return float(sum(each.double().sum() for each in batches) / sum(each.numel() for each in batches))

@hookimpl
def ganforge_metrics():
    return {"gap": Gap, "brightness": Brightness}
"""


@pytest.fixture
def trained(run, here, image_folder):
    (here / "stranger.py").write_text(STRANGER)
    code, _, err = run(
        "train", "--data", image_folder, "--arch", "mlp", "--batch", "8", "--images", "16", "--device", "cpu",
        "--engine", "eager", "--precision", "float32", "--set", "training.samples=4", "--set", "generator.hidden=8",
        "--set", "training.layout=contiguous", "--set", "training.threads=1",
    )  # fmt: skip
    assert code == 0, err
    torch.manual_seed(0)
    torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(768, 4))).save("net.pt")

    def evaluate(*arguments):
        return run("eval", *arguments, "--plugin", "stranger.py", "--device", "cpu", "--json", "--samples", "20")

    return evaluate


def test_metrics_of_a_plugin_stand_beside_the_built_in_ones(trained):
    extractor = ["--extractor", "torchscript:weights=net.pt,pixels=unit"]
    code, out, err = trained(
        "--metric", "gap:scale=2", "--fid", "--metric", "kid", *extractor, "--metric", "brightness"
    )
    assert code == 0, err
    rows = json.loads(out)
    assert [row["metric"].partition("_")[0] for row in rows] == ["fd", "kd", "gap", "brightness"]
    gap, brightness = rows[2:]
    assert (gap["protocol"]["scale"], gap["better"], gap["protocol"]["num_samples"]) == (2.0, "lower", 20)
    assert brightness["protocol"]["num_samples"] == 20
    assert -1 <= brightness["value"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--metric", "gab"], "unknown metric 'gab' - did you mean 'gap'"),
        (["--metric", "gap:scal=1"], "metric 'gap' has no option 'scal'"),
        (["--metric", "brightness", "--extractor", "dinov2"], "--metric brightness does not use it"),
        (
            ["--metric", "brightness", "--seed", "7"],
            "metric 'brightness' of plugin 'stranger' failed: KeyError: 'seven'",
        ),
        ([], "no metric was named"),
    ],
)
def test_a_mistake_is_one_line(run, here, trained, arguments, said):
    code, out, err = trained(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_every_flag_is_a_metric_of_the_hook():
    assert set(FLAGGED) == set(Registry.installed().names("metric"))


@pytest.mark.parametrize("metric", [Fid, Kid])
def test_metrics_of_training_keep_the_contract(metric):
    check_metric(metric)


class Counting(FeatureMetric):
    """Gives another number each time."""

    count = 0

    def measure(self, reals, fakes):
        type(self).count += 1
        return self.count


class Doubling(FeatureMetric):
    """Changes its input."""

    def measure(self, reals, fakes):
        return fakes.features.mul_(2).mean() * 0


@pytest.mark.parametrize(("metric", "said"), [(Counting, "different values"), (Doubling, "changed the features")])
def test_a_metric_that_breaks_the_contract_is_told_in_a_sentence(metric, said):
    with pytest.raises(AssertionError, match=said):
        check_metric(metric)


@pytest.mark.parametrize("name", ["ppl", "prc", "sharpness"])
def test_training_takes_metrics_that_say_so(name):
    with pytest.raises(OptionError, match=f"training.metrics: '{name}' is invalid"):
        resolve(Registry.installed(), {"training": {"metrics": f"fd,{name}"}})


def test_the_linear_classifier_is_that_of_an_independent_solver():
    torch.manual_seed(0)
    features, labels = torch.randn(60, 5), torch.arange(60) % 3
    features[:, 0] += labels
    found = linear_probe.train_svm(features, labels, 3, 0.1).double().numpy()
    x = np.hstack([features.double().numpy(), np.ones((60, 1))])
    decay = 0.05 * np.diag([1.0] * 5 + [0.0])
    for index in range(3):
        sign, best, active = np.where(labels.numpy() == index, 1.0, -1.0), np.zeros(6), np.ones(60, dtype=bool)
        for _ in range(50):  # Newton's method: the loss of those within the margin is one least-squares problem
            best = np.linalg.solve(x[active].T @ x[active] / 60 + decay, x[active].T @ sign[active] / 60)
            before, active = active, sign * (x @ best) < 1
        assert (before == active).all()
        assert found[:, index] == pytest.approx(best, abs=2e-3)


def test_features_are_maps_of_all_convolutions_pooled_to_four_by_four():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(2, 3, 4, stride=4),
        nn.Conv2d(3, 1, 2), nn.Flatten(0),
    )  # fmt: skip
    images = torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8)
    found = linear_probe.pooled_features(network, images, "it")
    maps = network[0](images / 127.5 - 1).detach()
    pooled = torch.stack([maps[:, :, y : y + 2, x : x + 2].amax((2, 3)) for y in (0, 2, 4, 6) for x in (0, 2, 4, 6)], 2)
    assert found.shape == (5, 2 * 16 + 3 * 4)  # the last layer gives one number
    assert torch.allclose(found[:, :32], pooled.flatten(1), atol=1e-6)
    assert not network[0]._forward_hooks


def test_a_probe_tells_classes_that_a_random_discriminator_keeps_apart(tmp_path):
    labels = torch.arange(120) % 3
    pictures = torch.zeros(120, 1, 16, 16, dtype=torch.uint8)
    pictures[labels == 1, :, :8] = 200
    pictures[labels == 2, :, :, :8] = 200
    packed = PackedData("halves", pictures, labels, ("none", "top", "left"), "0" * 64)
    registry = Registry.installed()
    small = {"generator": {"width": 4}, "discriminator": {"width": 4}, "training": {"holdout": 0.25}}
    config = resolve(registry, {"recipe": "dcgan", **small})
    folder = RunFolder.create(tmp_path, "halves")
    folder.write_config(config.tree())
    state = build_state(config, registry, packed.spec, CPU)
    card = {
        "kind": "checkpoint", "images": 0, "fingerprint": "0" * 64, "seconds": 1.0, "ticked": 0, "seconds_ticked": 1.0,
        "generator": {
            "generator": {"name": "dcgan", "options": {}, "plugin": "dcgan"},
            "data": {"shape": [1, 16, 16], "class_names": list(packed.class_names)},
        },
    }  # fmt: skip
    save_tensors(folder.checkpoint_path(0), state.tensors(), card)
    result = linear_probe.measure(TrainedRun(folder, state.ema, {}, packed, None, registry), Request())
    assert result.found.accuracy == 1.0
    assert result.found.by_class == {"none": 1.0, "top": 1.0, "left": 1.0}
    assert result.values[0].parameters == {"strength": 1e-3}


def test_a_run_without_held_out_examples_has_no_probe(run, here, trained):
    code, _, err = run("eval", "--linear-probe")
    assert code == 2
    assert "has no held-out examples" in err
