"""The command line as a person meets it: a mistake is one line and exit code 2, every stage after training works."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ganforge
from ganforge.cli import hoist, main
from ganforge.runs.checkpoint import read_card, read_tensors
from ganforge.runs.folder import RunFolder
from ganforge.training import loop

SMALL = [
    "--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "8", "--device", "cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory):
    """A folder of one run."""
    runs = tmp_path_factory.mktemp("finished") / "runs"
    with pytest.raises(SystemExit) as stop:
        main(["train", "--data", str(photos), "--images", "48", "--out", str(runs), *SMALL])
    assert not stop.value.code
    return runs


@pytest.fixture
def trained(finished, here):
    shutil.copytree(finished, here / "runs")
    return here / "runs/00000-rpgan-photos"


def test_train_then_sample_export_and_load(run, trained):
    assert re.fullmatch(r"00000-rpgan-photos", trained.name)
    assert json.loads((trained / "config.json").read_text())["training"]["images"] == 48
    code, out, err = run("sample", "--count", "9", "--seed", "3")
    assert code == 0
    assert str(trained.name) in err  # which run was taken
    with Image.open(out.strip()) as picture:
        assert picture.size == (3 * 18 - 2, 3 * 18 - 2)
    code, out, err = run("export", "--torchscript", trained)
    assert code == 0
    scripted = torch.jit.load(out.strip())
    z = torch.randn(2, 100)
    assert torch.allclose(scripted(z, None), ganforge.load(trained)(z), atol=1e-5)


def test_sample_writes_single_files_named_by_seed(run, trained, here):
    code, out, _ = run("sample", trained.name, "--count", "3", "--seed", "41", "--to", "singles", "--class", "dog")
    assert (code, out.strip()) == (0, "singles")
    assert sorted(os.listdir("singles")) == ["seed000041.png", "seed000042.png", "seed000043.png"]
    run("sample", trained.name, "--count", "1", "--seed", "43", "--to", "again", "--class", "1")
    assert (here / "again/seed000043.png").read_bytes() == (here / "singles/seed000043.png").read_bytes()


def test_a_run_repeats_from_its_own_configuration(run, trained, here):
    code, out, err = run("train", "--config", trained / "config.json")
    assert code == 0, err
    assert (here / out.strip() / "generator.safetensors").read_bytes() == (
        trained / "generator.safetensors"
    ).read_bytes()


def test_resume_extends_a_run_and_equals_a_longer_one(run, trained, here, photos):
    code, out, _ = run("train", "--resume", "--images", "96")
    assert (code, here / out.strip()) == (0, trained)
    assert json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])["images"] == 96
    code, out, _ = run("train", "--data", photos, "--images", "96", *SMALL)
    longer = here / out.strip()
    assert (longer / "generator.safetensors").read_bytes() == (trained / "generator.safetensors").read_bytes()


def test_resuming_a_run_that_is_done_asks_for_a_budget(run, trained):
    before = (trained / "config.json").read_bytes()
    code, _, err = run("train", "--resume")
    assert code == 2
    assert "has spent its budget" in err
    assert "--images is the total, resumes included: use --images 8000" in err
    assert (trained / "config.json").read_bytes() == before


def test_a_budget_of_minutes_that_is_spent_is_answered_with_a_larger_one(run, here, image_folder):
    _, _, err = run("train", "--data", image_folder, "--minutes", "0.001", *SMALL)
    more = re.search(r"ganforge train --resume runs/00000-rpgan-photos (--minutes \d+)\n", err)[1]
    code, _, err = run("train", "--resume", "--minutes", "0.0001")
    assert code == 2
    assert f"--minutes is the total, resumes included: use {more}" in err


def test_a_dry_run_prints_the_configuration_and_writes_nothing(run, here, image_folder):
    code, out, _ = run("train", "--data", image_folder, "--dry-run", "--reg", "r1:weight=2", *SMALL)
    assert code == 0
    assert json.loads(out)["regularizers"]["r1"]["weight"] == 2
    assert not (here / "runs").exists()


def test_a_file_plugin_trains_and_is_asked_for_afterwards(run, here):
    (here / "mine.py").write_text(PLUGIN)
    arguments = ["train", "--plugin", "mine.py", "--arch", "mlp", "--generator", "bias", "--data", "stripes"]
    code, out, err = run(
        *arguments, "--images", "32", "--batch", "8", "--set", "discriminator.hidden=8", "--name", "mine"
    )
    assert code == 0, err
    assert out.strip() == "runs/00000-mine"
    code, _, err = run("sample")
    assert code == 2
    assert "plugin 'mine'" in err
    code, out, _ = run("--plugin", "mine.py", "sample")
    assert code == 0


PLUGIN = """
import torch
from ganforge import Dataset, Generator, hookimpl

class Bias(Generator):
    "One picture, whatever the latent."
    def __init__(self, data, *, z_dim: int = 4):
        super().__init__()
        self.z_dim = z_dim
        self.picture = torch.nn.Parameter(torch.zeros(data.shape))
    def forward(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return torch.tanh(self.picture + 0 * z.sum(1)[:, None, None, None])

class Stripes(Dataset):
    "Diagonal stripes."
    def __init__(self, *, count: int = 20):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        return ((torch.arange(8)[:, None] + torch.arange(8) + index) % 4 * 80).to(torch.uint8)

@hookimpl
def ganforge_generators():
    return {"bias": Bias}

@hookimpl
def ganforge_datasets():
    return {"stripes": Stripes}
"""


def test_vectors_train_and_are_drawn_as_points(run, here):
    arguments = [
        "train",
        "--arch",
        "mlp",
        "--data",
        "ring-8",
        "--set",
        "data.count=300",
        "--images",
        "64",
        "--batch",
        "16",
    ]
    code, out, err = run(*arguments, "--set", "generator.hidden=8", "--set", "discriminator.hidden=8")
    assert code == 0, err
    (picture, *_) = sorted((here / out.strip() / "samples").glob("*.png"))
    with Image.open(picture) as opened:
        assert opened.mode == "RGB"
    code, out, _ = run("sample", "--count", "5")
    assert code == 0
    assert np.load(out.strip()).shape == (5, 2)
    code, _, err = run("sample", "--to", "points.png")
    assert code == 2
    assert "points.npy" in err


MISTAKES = {
    "no such command": (["trian"], "train"),
    "no such option": (["train", "--bacth", "3"], "--batch"),
    "option without value": (["train", "--batch"], "--batch"),
    "no such recipe": (["train", "--arch", "dcgann"], "did you mean 'dcgan'"),
    "no such loss": (["train", "--loss", "nonsta"], "did you mean 'nonsat'"),
    "no such generator": (["train", "--generator", "dgcan"], "unknown generator 'dgcan'"),
    "no such discriminator": (["train", "--discriminator", "x"], "unknown discriminator 'x'"),
    "no such regularizer": (["train", "--reg", "r7"], "unknown regularizer 'r7'"),
    "regularizer option without value": (["train", "--reg", "r1:weight"], "option=value"),
    "negative weight": (["train", "--reg", "r1:weight=-1"], "too small"),
    "no such data": (["train", "--data", "avatar"], "avatars"),
    "no such folder": (["train", "--data", "./absent"], "absent"),
    "no such zip": (["train", "--data", "absent.zip"], "absent.zip"),
    "text for a number": (["train", "--batch", "many"], "'many' is not a whole number"),
    "fraction for a whole number": (["train", "--batch", "1.5"], "'1.5' is not a whole number"),
    "zero batch": (["train", "--batch", "0"], "the least is 1"),
    "negative images": (["train", "--images", "-5"], "too small"),
    "zero minutes": (["train", "--minutes", "0"], "too small"),
    "infinite minutes": (["train", "--minutes", "inf"], "not a finite number"),
    "zero d-steps": (["train", "--d-steps", "0"], "trains without a discriminator, but discriminator.name is dcgan"),
    "negative seed": (["train", "--seed", "-1"], "the least is 0"),
    "negative resolution": (["train", "--resolution", "-8"], "too small"),
    "resolution that does not fit": (["train", "--resolution", "50x70", "--data", "photos"], "--resolution 48x64"),
    "resolution without a height": (["train", "--resolution", "64x", "--data", "photos"], "such as 64, or 256x192"),
    "vectors for images": (["train", "--data", "ring-8", "--set", "data.count=300"], "--arch mlp"),
    "no such device": (["train", "--device", "tpu"], "tpu"),
    "set without a section": (["train", "--set", "width=3"], "section.option=value"),
    "set without a value": (["train", "--set", "generator.width"], "section.option=value"),
    "set in an unknown section": (["train", "--set", "generatr.width=3"], "'generator'"),
    "set an unknown option": (["train", "--set", "generator.widht=3"], "did you mean 'width'"),
    "set an unknown setting": (["train", "--set", "training.sed=3"], "did you mean 'seed'"),
    "set a value out of range": (["train", "--set", "generator.width=0"], "must be at least 1"),
    "set an invalid value": (["train", "--set", "generator.conditioning=cubic"], "'cubic' is invalid"),
    "set an option of the data": (["train", "--set", "data.cuont=3"], "'count'"),
    "set an option of named data": (["train", "--data", "ring-8", "--set", "data.cuont=3"], "'count'"),
    "set an option of a path": (["train", "--data", "photos", "--set", "data.count=3"], "has no option 'count'"),
    "negative learning rate": (["train", "--set", "optimizer.generator_lr=-1"], "the least is 0"),
    "no such augmentation": (["train", "--augment", "twist"], "unknown augmentation 'twist'"),
    "schedule of another form": (["train", "--reg", "r1:weight=quick:1:2:3"], "cosine:10:1:500k"),
    "beta of one": (["train", "--set", "optimizer.beta1=1"], "below 1"),
    "no such configuration": (["train", "--config", "absent.toml"], "no such file"),
    "broken configuration": (["train", "--config", "broken.toml"], "invalid TOML"),
    "unexpected argument": (["train", "photos"], "--data photos"),
    "a path with a space": (["train", "--data", "./my", "photos"], "quote a path"),
    "a similar name of a folder": (["train", "--data", "fotos"], "did you mean 'photos'"),
    "a similar path": (["train", "--data", "./fotos"], "did you mean 'photos'"),
    "a network larger than memory": (
        ["train", "--data", "photos", "--arch", "mlp", "--set", "generator.z_dim=100000000000"],
        "of memory",
    ),
    "a batch larger than memory": (["train", "--data", "photos", "--batch", "1000000000000"], "out of memory"),
    "a name that is too long": (["train", "--config", "n" * 300], "File name too long"),
    "a number without end": (["train", "--batch", "9" * 5000], "is not a whole number"),
    "a line feed": (["train", "--arch", "dc\ngan\x1b[31m"], "unknown recipe 'dc gan\\x1b[31m'"),
    "a run by a number without end": (["sample", "9" * 200], "run not found"),
    "resume with another loss": (["train", "--resume", "--loss", "minimax"], "--resume"),
    "resume with another seed": (["train", "--resume", "--seed", "3"], "--resume"),
    "resume nothing": (["train", "--resume"], "no run found"),
    "resume an unknown run": (["train", "--resume", "00009"], "run not found"),
    "no such plugin file": (["train", "--plugin", "absent.py"], "no such Python file"),
    "broken plugin file": (["train", "--plugin", "broken.py"], "SyntaxError"),
    "disable an unknown plugin": (["train", "--disable", "dcgna"], "did you mean 'dcgan'"),
    "disable what is needed": (["train", "--disable", "resnet"], "unknown recipe 'rpgan'"),
    "out is a file": (["train", "--out", "broken.py", "--data", "photos", "--resolution", "16"], "broken.py"),
    "sample without a run": (["sample"], "train one first"),
    "sample an unknown run": (["sample", "nonsense"], "run not found"),
    "sample a file of another program": (
        ["sample", "broken.py"],
        "is a file, not a run - a checkpoint becomes a run by: ganforge import",
    ),
    "sample a missing file": (["sample", "absent.safetensors"], "no such file"),
    "sample a picture": (["sample", "picture.safetensors"], "not a safetensors file"),
    "sample no images": (["sample", "--count", "0"], "the least is 1"),
    "sample a negative seed": (["sample", "--seed", "-2"], "the least is 0"),
    "export to an unknown format": (["export", "--format", "torchscrip"], "did you mean 'torchscript'"),
    "export with an unknown option": (["export", "--set", "torchscript.bits=8"], "no option 'bits'"),
    "export with an option of another format": (["export", "--set", "safetensors.x=1"], "is not exported"),
    "export without a run": (["export", "--torchscript"], "train one first"),
    "evaluate nothing": (["eval"], "--fid"),
    "evaluate without a run": (["eval", "--fid"], "train one first"),
    "evaluate one image": (["eval", "--fid", "--samples", "1"], "the least is 2"),
    "describe what is not there": (["plugins", "info", "dcgam"], "did you mean 'dcgan'"),
    "check what is not there": (["data", "check", "absent"], "absent"),
    "check an empty folder": (["data", "check", "empty"], "empty"),
    "pack over something": (["data", "pack", "photos", "photos"], "photos"),
    "pack at no size": (["data", "pack", "photos", "packed", "--resolution", "0"], "resolution"),
    "train on an empty folder": (["train", "--data", "empty"], "empty"),
    "train on a folder with a broken image": (["train", "--data", "damaged", "--resolution", "16"], "bad.png"),
    "train on text": (["train", "--data", "broken.toml"], "broken.toml"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(run, here, image_folder, few_avatars, name):
    (here / "broken.toml").write_text("a = = b")
    (here / "broken.py").write_text("def broken(:")
    (here / "picture.safetensors").write_bytes(b"\x89PNG")
    (here / "empty").mkdir()
    (here / "damaged").mkdir()
    (here / "damaged" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = sorted(here.rglob("*"))
    arguments, expected = MISTAKES[name]
    code, out, err = run(*arguments)
    assert code == 2
    assert expected in err
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("error: ")
    assert sorted(here.rglob("*")) == before  # nothing half made, nothing lost


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--truncation", "0.5"], "cannot be truncated"),
        (["--truncation", "nan"], "not a finite number"),
        (["--class", "bird"], "class not found"),
        (["--class", "2"], "class not found"),
        (["--class", "²"], "class not found"),
        (["--count", "1000000000000"], "lower --count"),
        (["--to", "picture.jpg"], "picture.png"),
        (["--precision", "bf16"], "unknown precision 'bf16'"),
    ],
)
def test_mistakes_in_sampling_a_run(run, trained, arguments, message):
    code, _, err = run("sample", *arguments)
    assert code == 2
    assert message in err
    assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_a_generator_for_another_directory_is_refused_by_export(run, trained):
    code, _, err = run("export", "--torchscript", "--to", "model.onnx")
    assert code == 2
    assert "ends in .pt" in err


def test_data_that_changed_stop_a_resume(run, here, image_folder):
    assert run("train", "--data", image_folder, "--images", "8", *SMALL)[0] == 0
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(image_folder / "cat" / "0.png")
    code, _, err = run("train", "--resume", "--images", "96")
    assert code == 2
    assert "the data changed since the run began" in err


def test_global_options_may_stand_anywhere():
    given = ["train", "--plugin", "a.py", "--batch", "3", "--disable=b", "--debug"]
    assert hoist(given) == ["--plugin", "a.py", "--disable=b", "--debug", "train", "--batch", "3"]


def test_debug_shows_the_traceback(here):
    from ganforge import OptionError

    with pytest.raises(OptionError):
        main(["train", "--arch", "nothing", "--debug"])


@pytest.mark.slow
def test_an_interrupted_process_leaves_with_130_and_goes_on(here, image_folder):
    arguments = ["train", "--data", str(image_folder), "--images", "100k", "--name", "long", *SMALL]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "ganforge", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    metrics = here / "runs" / "00000-long" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not metrics.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "ganforge train --resume runs/00000-long" in err
    assert "Traceback" not in err
    assert list((here / "runs/00000-long/checkpoints").glob("*.safetensors"))


def test_plain_lines_where_there_is_no_terminal(run, here, image_folder):
    _, out, err = run("train", "--data", image_folder, "--images", "48", "--set", "training.tick_images=16", *SMALL)
    ticks = [line for line in err.splitlines() if " images/s " in line]
    assert len(ticks) == 3
    for part in ("D(x)", "D(G(z))", "discriminator/loss", "generator/loss", "eta", ".png"):
        assert part in ticks[-1]
    told = [line for line in err.splitlines() if line in ticks or line.startswith(("warning: ", "memorization "))]
    assert (here / out.strip() / "log.txt").read_text().splitlines() == told


def test_processes_share_out_single_samples(run, trained, here, monkeypatch):
    arguments = ["sample", trained, "--count", "5", "--seed", "3", "--device", "cpu"]
    assert run(*arguments, "--to", "all")[0] == 0
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        code, out, err = run(*arguments, "--to", "shares")
        assert code == 0, err
        assert (out.strip(), len(list((here / "shares").iterdir()))) == [("shares", 2), ("", 5)][rank]
    for path in (here / "all").iterdir():
        assert (here / "shares" / path.name).read_bytes() == path.read_bytes()
    code, _, err = run(*arguments, "--to", "one.png")
    assert code == 2
    assert "--to samples" in err


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 138), ("SIGHUP", 129)])
def test_each_signal_stops_with_a_checkpoint_and_a_code_of_its_own(run, here, image_folder, monkeypatch, number, code):
    calls = []

    def read_batch(*arguments):
        calls.append(None)
        if len(calls) == 3:
            signal.raise_signal(getattr(signal, number))
        return original(*arguments)

    original = loop.read_batch
    monkeypatch.setattr(loop, "read_batch", read_batch)
    found, _, err = run("train", "--data", image_folder, "--images", "800", "--name", "x", *SMALL)
    assert found == code
    assert f"stopped by {number}; resume with: ganforge train --resume runs/00000-x" in err
    newest = RunFolder(here / "runs/00000-x").checkpoint_paths()[-1]
    assert read_card(newest)["images"] == 3 * 8
    assert len(calls) == 3  # the step at hand was the last


def test_a_new_run_may_begin_with_the_weights_of_another(run, trained, here, image_folder):
    old = RunFolder.find(str(trained), here / "runs")
    before, _ = read_tensors(old.checkpoint_paths()[-1])
    arguments = ["train", "--data", image_folder, "--images", "16", *SMALL]
    for source in (str(trained), str(old.checkpoint_paths()[-1]), str(old.generator)):
        code, out, err = run(*arguments, "--init-from", source)
        assert code == 0, err
        assert "initialized from" in err
        folder = RunFolder(here / out.strip())
        start, card = read_tensors(folder.checkpoint_path(0))
        parts = ("generator", "average") if source.endswith("generator.safetensors") else ("generator", "discriminator")
        for name, value in start.items():
            if name.split("/")[0] in parts and not source.endswith("generator.safetensors"):
                assert torch.equal(value, before[name]), name
        assert torch.equal(start["average/first.weight"], before["average/first.weight"])
        assert not any("optimizer/" in name for name in start)  # only weights are taken over
        assert (card["images"], card["rollbacks"]) == (0, 0)
        assert Path(folder.read_config()["training"]["init_from"]).is_absolute()
    code, out, err = run("train", "--resume", "--images", "32")  # resumes in its directory instead of a new one
    assert code == 0, err
    assert "initialized from" not in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--arch", "stylegan2"], "no layer agrees with this run's networks"),
        (["--init-from", "nowhere"], "nowhere: run not found"),
        (["--init-from", "."], ".: is a folder without config.json, not a run"),
    ],
)
def test_weights_that_do_not_fit_a_new_run_are_refused_before_it_begins(
    run, trained, here, image_folder, options, words
):
    many = len(list((here / "runs").iterdir()))
    code, _, err = run("train", "--data", image_folder, "--init-from", trained, *SMALL, *options, "--images", "16")
    assert code == 2
    assert words in err.strip().splitlines()[-1]
    assert len(list((here / "runs").iterdir())) == many
