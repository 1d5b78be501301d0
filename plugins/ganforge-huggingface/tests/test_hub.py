"""Generators in the hub's layout: written, pushed to a hub of this machine, and pulled."""

import hashlib
import json
import os
import subprocess
import sys

import ganforge
import numpy as np
import pytest
import torch
import yaml
from fake_hub import COMMIT, fake_hub
from ganforge import OptionError
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator
from ganforge.runs.folder import RunFolder
from ganforge.session.importing import import_file
from ganforge.testing import check_exporter
from PIL import Image

from ganforge_huggingface import HubExporter

TINY = {"training.batch": 8, "training.samples": 4, "training.engine": "eager", "training.precision": "float32",
        "training.threads": 1, "generator.width": 4, "discriminator.width": 4}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a network with classes."""
    place = tmp_path_factory.mktemp("made")
    for name in ("cat", "dog"):
        (place / "pets" / name).mkdir(parents=True)
        for number in range(8):
            Image.effect_noise((16, 16), 30 + number).convert("RGB").save(place / "pets" / name / f"{number}.png")
    return ganforge.train(
        arch="cdcgan", data=place / "pets", images=16, device="cpu", settings=TINY, out=place / "runs", quiet=True
    )


def command(*words, code=0, hub=None, **others):
    """Standard output and standard error of a command in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_ENDPOINT": hub.url} if hub else {}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, env=environment | others
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    options = [f"--set=huggingface.{each}" for each in ("license=mit", "dataset=me/pets", "repo=me/pets-gan")]
    command("ganforge", "export", run.path, "--format", "huggingface", *options, "--to", folder)
    return folder / "generator-hub"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# ---- the layout ----


def test_the_exporter_passes_the_checks(tmp_path):
    check_exporter(HubExporter, tmp_path)


def test_the_model_card_tells_what_it_is(exported, run):
    assert {each.name for each in exported.iterdir()} == {
        "README.md",
        "config.json",
        "generator.safetensors",
        "origin.json",
        "samples.png",
    }
    _, head, text = (exported / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "ganforge",
        "license": "mit",
        "datasets": ["me/pets"],
        "tags": ["gan", "ganforge", "dcgan", "cdcgan"],
    }
    for words in (
        "![Samples",
        "16 images",
        "16 x 16 pixels",
        "cat, dog",
        "pets, 16 examples",
        "width 4",
        "recipe: cdcgan",
    ):
        assert words in text
    assert json.loads((exported / "config.json").read_text())["data"]["class_names"] == ["cat", "dog"]
    with Image.open(exported / "samples.png") as picture:
        assert b"trainedAlgorithmicMedia" in picture.info["xmp"]
        assert picture.size == (8 * 64, 4 * 64)


@pytest.mark.slow
def test_code_of_the_model_card_runs(exported, home):
    text = (exported / "README.md").read_text()
    (code,) = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    with fake_hub() as hub:
        command("ganforge", "hub", "push", exported, "me/pets-gan", hub=hub, HF_TOKEN="hf_secret")
        (home / "card.py").write_text(f"{code}\nprint(tuple(images.shape))")
        assert command("card", hub=hub)[0].strip() == "(16, 3, 16, 16)"


def test_unlabelled_images_are_told_from_others(tmp_path):
    generator = ganforge.testing.networks.SmallGenerator().eval()
    card = {"generator": {"name": "x", "options": {}}, "data": {"shape": [3], "class_names": []}}
    HubExporter(title="Points: of mine").export(generator, card, tmp_path / "points-hub")
    text = (tmp_path / "points-hub/README.md").read_text()
    assert "# Points: of mine" in text
    assert "vectors of 3 numbers" in text
    assert not (tmp_path / "points-hub/samples.png").exists()


# ---- there and back ----


def test_a_generator_comes_back_as_it_was_pushed(exported, run, home):
    with fake_hub() as hub:
        out, told = command(
            "ganforge", "hub", "push", exported, "me/pets-gan", "--private", hub=hub, HF_TOKEN="hf_secret"
        )
        assert out.strip() == f"{hub.url}/me/pets-gan/commit/{COMMIT}"
        assert "hf_secret" not in out + told
        assert hub.repos["me/pets-gan"]["private"]
        files = hub.repos["me/pets-gan"]["files"]
        assert files == {each.name: each.read_bytes() for each in exported.iterdir()}
        out, told = command("ganforge", "hub", "pull", "me/pets-gan", hub=hub)
        assert out.strip() == "pets-gan/generator.safetensors"
        assert "ganforge sample pets-gan/generator.safetensors" in told
    pulled, own = ganforge.load(home / "pets-gan"), run.load()
    z, labels = torch.randn(4, own.z_dim), torch.tensor([0, 1, 1, 0])
    assert torch.equal(pulled(z, labels), own(z, labels))
    command("ganforge", "sample", "pets-gan/generator.safetensors", "--to", "grid.png")
    assert (home / "grid.png").exists()


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_line(exported, home):
    with fake_hub() as hub:
        told = command("ganforge", "hub", "push", exported, "me/x", hub=hub, code=2, HF_TOKEN="hf_wrong")[1]
        assert told.startswith("error: me/x cannot be uploaded: ")
        assert "hf auth login" in told
        assert "hf_wrong" not in told
        told = command("ganforge", "hub", "pull", "me/nothing", hub=hub, code=2)[1]
        assert told.startswith("error: me/nothing cannot be downloaded: ")
        command("ganforge", "hub", "push", exported, "me/other", hub=hub, HF_TOKEN="hf_secret")
        files = hub.repos["me/other"]["files"]
        whole = files["generator.safetensors"]
        files["generator.safetensors"] = whole[:-1] + bytes([whole[-1] ^ 1])
        told = command("ganforge", "hub", "pull", "me/other", hub=hub, code=2)[1]
        assert "does not match its digest" in told
        del files["generator.safetensors"]
        told = command("ganforge", "hub", "pull", "me/other", "--to", "empty", hub=hub, code=2)[1]
        assert "empty/generator.safetensors: no such file" in told


def test_a_hub_that_cannot_be_reached_is_one_line(home):
    told = command("ganforge", "hub", "pull", "me/x", code=2, HF_ENDPOINT="http://127.0.0.1:9")[1]
    assert told.startswith("error: me/x cannot be downloaded: ")


def test_only_what_the_exporter_wrote_is_pushed(run, home):
    told = command("ganforge", "hub", "push", run.path, "me/x", code=2)[1]
    assert "holds no README.md" in told
    assert "--format huggingface" in told


# ---- origin of the weights ----


class Weights(ganforge.Importer):
    """Weights of another program, for two classes of networks."""

    def recognizes(self, path):
        return path.suffix == ".weights"

    def read(self, path):
        torch.manual_seed(0)
        data = ganforge.DataSpec((3, 16, 16))
        options = {"z_dim": 8, "width": 4}
        network = Registry.installed().build("generator", "dcgan", options, data)
        settings = {"recipe": "dcgan", "discriminator": {"name": "dcgan", "width": 4}}
        return ganforge.Imported(
            generator="dcgan", options=options, data=data, weights=network.state_dict(), settings=settings
        )


def imported(folder, **origin):
    """A run of a file of another program."""
    (folder / "theirs.weights").write_bytes(b"weights")
    registry = Registry.installed()
    registry.build = lambda kind, name, *rest, **options: (
        Weights() if kind == "importer" else Registry.build(registry, kind, name, *rest, **options)
    )
    path = folder / "theirs.weights"
    return import_file(path, folder / "runs", registry, form="weights", options={}, name=None, origin=origin)[0]


def publish(folder, run, **options):
    """Header and text of the model card of a run."""
    generator, card = load_generator(run.generator)
    HubExporter(**options).export(generator, card, folder / "hub")
    _, head, text = (folder / "hub/README.md").read_text().split("---\n", 2)
    return yaml.safe_load(head), text


def test_license_source_and_digest_are_published_also_after_fine_tuning(tmp_path):
    run = imported(tmp_path, license="CC-BY-NC-4.0", source="https://example.org/<b>a</b>")
    head, text = publish(tmp_path, run)
    assert head["license"] == "cc-by-nc-4.0"
    assert "imported by ganforge from another program" in text
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), np.uint8))
    tuned = ganforge.train(
        data=images, init_from=run.path, images=16, device="cpu", quiet=True, out=tmp_path / "runs", augment=["flip"],
        settings={key: value for key, value in TINY.items() if "width" not in key},
    )  # fmt: skip
    head, tuned_text = publish(tmp_path, RunFolder(tuned.path))
    assert head["license"] == "cc-by-nc-4.0"
    assert "trained with ganforge on 16 images" in tuned_text
    assert "initialized from: dcgan of imported after 0 images" in tuned_text
    for each in (text, tuned_text):
        assert f"SHA-256 of the source: {hashlib.sha256(b'weights').hexdigest()}" in each
        assert r"theirs.weights from https://example.org/\<b\>a\</b\>" in each
    with pytest.raises(OptionError, match="the imported weights have license CC-BY-NC-4.0"):
        publish(tmp_path, RunFolder(tuned.path), license="mit")


def test_an_unknown_license_is_published_as_such_unless_one_is_given(tmp_path):
    run = imported(tmp_path)
    head, text = publish(tmp_path, run)
    assert head["license"] == "unknown"
    assert "license: unknown; ask the authors" in text
    assert "theirs.weights, from an unknown source" in text
    head, text = publish(tmp_path, run, license="mit")
    assert head["license"] == "mit"
    assert "license: mit" in text


def test_a_license_that_the_hub_does_not_know_has_its_name(tmp_path):
    head, text = publish(tmp_path, imported(tmp_path, license="NVIDIA Source Code License"))
    assert (head["license"], head["license_name"]) == ("other", "nvidia-source-code-license")
    assert "license: NVIDIA Source Code License" in text
