"""Generators that come with the package: found by name after the user's runs, and never written to."""

import hashlib
import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge import OptionError
from ganforge.core.atomic_files import append_line
from ganforge.core.images import grid, to_uint8
from ganforge.evaluation.subjects import targets
from ganforge.runs import folder as folders
from ganforge.runs import shipped
from ganforge.runs.checkpoint import read_card, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.runs.origin import describe_origin
from ganforge.runs.shipped import SHIPPED, output_folder, shipped_names
from ganforge.sampling import generate

NAMES = ["avatars", "avatars-classes", "avatars-dcgan"]


@pytest.fixture(autouse=True)
def unchanged():
    """No test writes into the package."""

    def look():
        files = sorted(each for each in SHIPPED.rglob("*") if each.is_file())
        return [(each, hashlib.sha256(each.read_bytes()).hexdigest()) for each in files]

    before = look()
    yield
    assert look() == before


def test_they_are_small_and_say_what_they_are():
    assert shipped_names() == NAMES
    weights = [SHIPPED / name / "generator.safetensors" for name in NAMES]
    assert sum(each.stat().st_size for each in weights) <= 6e6
    for name, path in zip(NAMES, weights, strict=True):
        card = read_card(path)
        assert (card["data"]["name"], describe_origin(card)["license"]) == ("avatars", "MIT")
        assert card["command"] == f"ganforge train --config ganforge/shipped/{name}/config.json"
        folder = RunFolder(path.parent)
        assert folder.read_config()["data"]["source"] == "avatars"
        assert folder.sample_path(card["images"]).is_file()
        assert not [each for each in folder.path.rglob("*") if b"/home/" in each.name.encode()]
        tensors, _ = read_tensors(path)
        assert {each.dtype for each in tensors.values() if each.dim() > 1} == {torch.float16}


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_drawn_by_name_beside_the_runs(name, run, here):
    code, out, err = run("sample", name, "--count", 4, "--class" if "classes" in name else "--seed", 3)
    assert code == 0, err
    assert out == f"runs/{name}/samples.png\n"
    generator = ganforge.load(name)
    labels = torch.full((4,), 3) if "classes" in name else None
    drawn = generate(generator, 4, seed=0 if "classes" in name else 3, labels=labels)
    expected = grid(to_uint8(drawn)).permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(np.asarray(Image.open(out.strip())), expected)


def test_they_are_mixed_exported_and_reported_by_name(run, here):
    for words, path in (
        (["explore", "mix", "avatars", "--rows", "0", "--columns", "1"], "runs/avatars/explore/mix.png"),
        (["export", "avatars", "--safetensors"], "runs/avatars/export/generator.safetensors"),
        (["report", "avatars"], "runs/avatars/report.html"),
    ):
        code, out, err = run(*words)
        assert code == 0, err
        assert out.strip() == path
        assert Path(path).is_file()
    assert json.loads(Path("runs/avatars/export/generator.origin.json").read_text())["license"] == "MIT"


def test_runs_and_images_of_the_user_come_first(here, photos):
    assert RunFolder.find("avatars", here / "runs").path == SHIPPED / "avatars"
    shutil.copytree(photos, "avatars")
    assert targets._find("avatars", here / "runs") == Path("avatars")
    own = here / "runs" / "avatars"
    own.mkdir(parents=True)
    (own / "config.json").write_text("{}")
    assert RunFolder.find("avatars", here / "runs").path == own


@pytest.mark.slow
def test_they_are_evaluated_beside_the_runs_and_trained_further(run, here, image_folder):
    few = ["--samples", 8, "--references", 8, "--device", "cpu"]
    code, out, err = run("eval", "avatars", "--kid", "--extractor", "random", "--data", "photos", *few)
    assert code == 0, out + err
    assert json.loads(Path("runs/avatars/evaluations.jsonl").read_text())["metric"] == "kd_random"
    assert run("report", "avatars")[0] == 0
    assert "kd_random" in Path("runs/avatars/report.html").read_text()
    small = ["--batch", 8, "--images", 8, "--set", "data.count=64", "--device", "cpu", "--engine", "eager"]
    code, _, err = run("train", "--init-from", "avatars", "--data", "avatars", *small)
    assert code == 0, err
    assert re.search(r"generator (\d+) of \1 layers", err), err


def test_resuming_one_names_the_command_that_starts_from_it(run, here):
    code, _, err = run("train", "--resume", "avatars", "--minutes", 1)
    assert (code, err.count("\n")) == (2, 1)
    assert "avatars is a shipped generator, which cannot be resumed - ganforge train --init-from avatars" in err
    with pytest.raises(OptionError, match="cannot be resumed"):
        ganforge.open_run("avatars").resume(minutes=1)


def test_an_unknown_name_is_answered_by_the_nearest(run, here):
    assert "did you mean 'avatars'" in run("sample", "avatar")[2]
    assert "or name a shipped one: avatars" in run("sample")[2]
    with pytest.raises(OptionError, match="nobody: run not found"):
        ganforge.load("nobody")


@pytest.mark.slow
def test_the_script_writes_the_shipped_form_of_a_run(tmp_path, monkeypatch, run, here, image_folder):
    path = Path(ganforge.__file__).parent.parent / "docs" / "shipped.py"
    spec = importlib.util.spec_from_file_location("docs_shipped", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    small = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--engine", "eager", "--device", "cpu"]
    words = ["--arch", "dcgan", "--data", "photos", "--images", 32, "--batch", 16]
    code, _, err = run("train", *words, "--precision", "float32", *small)
    assert code == 0, err
    for module in (shipped, script, folders):
        monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    own = RunFolder.find(None, here / "runs")
    append_line(own.metrics, '{"images": 32, "seconds": 1.0, "kid": 0.25}')
    script.ship(own, "mine")
    made = RunFolder.find("mine", here / "runs")
    assert made.path == tmp_path / "shipped" / "mine"
    assert output_folder(made.path, Path("runs")) == Path("runs/mine")
    assert made.read_config() == own.read_config()
    assert made.generator.stat().st_size < 0.6 * own.generator.stat().st_size
    rows = [json.loads(line) for line in made.metrics.read_text().splitlines()]
    assert [row["images"] for row in rows] == [32, 32]
    assert not any("picture" in row for row in rows)
    before, after = (generate(ganforge.load(each.path), 8) for each in (own, made))
    torch.testing.assert_close(before, after, rtol=0, atol=1 / 255)
    assert not torch.equal(before, after)
