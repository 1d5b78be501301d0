"""Notes where the network that measures took part in training, or its score selected the generator."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from ganforge import Extractor
from ganforge.evaluation.subjects.participation import RELATED, SHARED, describe_participation, trains_against
from ganforge.runs.checkpoint import save_tensors

CONFIG = {"training": {}, "callbacks": {}}


class Looking(Extractor):
    label, preprocessing = "looking", "none"

    def __init__(self, sha256="", name="inception"):
        super().__init__()
        self.network, self.weights_sha256, self.origin = nn.Conv2d(3, 8, 3), sha256, {"name": name}

    def forward(self, images):
        return self.network(images.float()).flatten(1), None


@pytest.fixture
def home(tmp_path):
    """A run directory by its configuration and rows of its environment."""

    def write(config, *files):
        (tmp_path / "runs/00000-x").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs/00000-x/config.json").write_text(json.dumps({**CONFIG, **config}))
        rows = [json.dumps({"device": "cpu", "weights_sha256": each}) + "\n" for each in files]
        (tmp_path / "runs/00000-x/environment.jsonl").write_text("".join(rows) + "damaged\n")
        return tmp_path / "runs/00000-x"

    return write


def test_a_file_of_weights_that_training_recorded_is_recognized(home):
    run = home({}, {}, {"discriminator": "a" * 64})
    for place in (run, run / "export"):
        assert describe_participation(place, "x", Looking("a" * 64)) == [SHARED]
        assert describe_participation(place, "x", Looking("b" * 64)) == [RELATED]
    assert describe_participation(home({}, {"discriminator": ""}), "x", Looking("a" * 64)) == []
    assert describe_participation(run.parent / "elsewhere" / "x", "x", Looking("a" * 64)) == []
    assert "FID and other distances can be trained against" in SHARED


def test_frozen_tensors_are_recognized_without_a_file(home):
    run, extractor = home({}), Looking()
    save_tensors(run / "checkpoints" / f"frozen-{'0' * 64}.safetensors", {"d/w": extractor.network.weight}, {})
    assert describe_participation(run, "x", extractor) == [SHARED]


@pytest.mark.parametrize(
    ("config", "name", "way"),
    [
        ({}, "runs/00000-x/generator-best.safetensors", "best of several scores"),
        ({"callbacks": {"early-stop": {}}}, "runs/00000-x", "early stop"),
        ({}, "runs/00000-x", None),
    ],
)
def test_a_score_that_selected_the_generator_is_a_milder_note(home, config, name, way):
    run = home({"training": {"eval_every": 100, "metrics": "fid"}, **config})
    notes = describe_participation(run, name, Looking())
    assert [f"({way})" in each and "slightly optimistic" in each for each in notes] == [True] * bool(way)
    assert describe_participation(run, name, Looking(name="dinov2")) == []
    (run.parent / "tune.json").write_text("{}")
    assert "tune" in describe_participation(run, name, Looking())[0]


def test_a_folder_of_images_may_have_any_configuration(tmp_path):
    (tmp_path / "config.json").write_text("[1]")
    assert describe_participation(tmp_path, "x", Looking()) == []


def test_networks_in_training_are_compared_with_the_extractor():
    extractor, file = Looking("a" * 64), nn.Linear(2, 2)
    judge = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(16, 16))
    assert not trains_against(extractor, [judge, file])
    judge[0].load_state_dict(extractor.network.state_dict())
    assert not trains_against(extractor, [judge])  # trained, so it does not stay so
    judge[0].requires_grad_(False)
    assert trains_against(extractor, [judge])
    file.weights_sha256 = "a" * 64
    assert trains_against(extractor, [file])
    assert not trains_against(Looking(), [nn.Sequential(nn.BatchNorm1d(128)), file, torch.nn.Identity()])


PLUGIN = """
import torch
from ganforge import Discriminator, hookimpl
from ganforge.evaluation.extractors.random import RandomExtractor


class Seeing(Discriminator):
    "Linear classifier of the features of the extractor 'random'."

    def __init__(self, data):
        super().__init__()
        self.features, self.head = RandomExtractor(data), torch.nn.Linear(448, 1)

    def forward(self, images, labels=None):
        return self.head(self.features(images * 127.5 + 127.5)[0]).squeeze(1)


@hookimpl
def ganforge_discriminators():
    return {"seeing": Seeing}
"""


@pytest.mark.slow
def test_a_run_against_the_extractor_has_the_note_in_training_in_the_output_and_in_its_row(run, here):
    (here / "photos").mkdir()
    for index in range(24):
        Image.effect_noise((16, 16), 20 + index).convert("RGB").save(here / f"photos/{index}.png")
    (here / "seeing.py").write_text(PLUGIN)
    code, _, err = run(
        "train", "--plugin", "seeing.py", "--data", "photos", "--arch", "mlp", "--discriminator", "seeing",
        "--images", "16", "--batch", "8", "--eval-every", "8", "--metrics", "fd", "--device", "cpu", "--engine",
        "eager", "--precision", "float32", "--set", "training.samples=4", "--set", "training.eval_samples=8",
        "--set", "generator.hidden=8", "--set", "training.layout=contiguous", "--set", "training.threads=1",
    )  # fmt: skip
    assert code == 0, err
    assert f"note: {SHARED}" in " ".join(err.split())
    command = ["eval", "--plugin", "seeing.py", "--fid", "--extractor", "random", "--samples", "8", "--device", "cpu"]
    code, out, err = run(*command, "--json")
    assert code == 0, err
    assert SHARED in json.loads(out)[0]["notes"]
    assert f"note: {SHARED}" in " ".join(err.split())
    (best,) = here.glob("runs/*/generator-best.safetensors")
    code, out, err = run(*command[:1], str(best), *command[1:], "--json")
    assert code == 0, err
    assert any("best of several scores" in note for note in json.loads(out)[0]["notes"])
