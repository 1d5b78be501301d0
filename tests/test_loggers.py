"""Loggers hear all that a run writes down, and can do it no harm."""

import json
import subprocess
import sys

import pytest

RECORDER = """
import json
from pathlib import Path
from ganforge import Logger, hookimpl


class Recorder(Logger):
    "Writes down what it is told."

    def __init__(self, *, book: str = "book.jsonl", fails_in: str = "") -> None:
        self.book, self.fails_in = Path(book), fails_in

    def note(self, what, *rest):
        if what == self.fails_in:
            raise ConnectionError("no route\\nto the dashboard")
        with self.book.open("a") as file:
            file.write(json.dumps([what, *rest]) + "\\n")

    def start(self, run, config, images):
        self.note("start", run.name, config["generator"]["name"], images)

    def log(self, images, values):
        self.note("log", images, dict(values))

    def log_picture(self, images, path):
        self.note("picture", images, path.name, path.read_bytes()[:4].hex())

    def log_text(self, images, text):
        self.note("text", images, text)

    def finish(self):
        self.note("finish")


@hookimpl
def ganforge_loggers():
    return {"recorder": Recorder}
"""

TINY = ["--arch", "mlp", "--batch", "8", "--device", "cpu", "--engine", "eager", "--precision", "float32",
        "--set", "training.samples=4", "--set", "training.tick_images=16", "--set", "generator.hidden=8",
        "--set", "discriminator.hidden=8", "--set", "training.layout=contiguous",
        "--set", "training.threads=1"]  # fmt: skip


@pytest.fixture
def train(run, here, image_folder):
    (here / "recorder.py").write_text(RECORDER)

    def call(*arguments):
        data = [] if "--resume" in arguments else ["--data", str(image_folder), *TINY]
        return run("train", *data, "--plugin", "recorder.py", *arguments)

    return call


def heard(book):
    return [json.loads(line) for line in book.read_text().splitlines()]


def rows(here):
    (file,) = here.glob("runs/*/metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_logger_hears_every_row_and_every_picture_once_it_is_written(train, here):
    code, out, err = train("--log", "recorder", "--images", "48")
    assert code == 0, err
    told = heard(here / "book.jsonl")
    assert told[0] == ["start", out.strip().split("/")[-1], "mlp", 0]
    assert told[-1] == ["finish"]
    logged = [(images, values) for what, images, *rest in told[1:-1] if what == "log" for values in rest]
    expected = [
        (row["images"], {name: each for name, each in row.items() if isinstance(each, float) and name != "images"})
        for row in rows(here)
    ]
    assert [images for images, _ in logged] == [16, 32, 48]
    for (images, values), (same, wanted) in zip(logged, expected, strict=True):
        assert images == same
        assert values == pytest.approx(wanted)
    pictures = [each[1:] for each in told if each[0] == "picture"]
    assert pictures == [[number, f"{number:09d}.png", "89504e47"] for number in (16, 32, 48)]


def test_a_run_goes_on_with_its_loggers_and_others_may_join(train, here):
    assert train("--log", "recorder:book=first.jsonl", "--images", "16")[0] == 0
    code, _, err = train("--resume", "--images", "32")
    assert code == 0, err
    starts = [each for each in heard(here / "first.jsonl") if each[0] == "start"]
    assert [each[-1] for each in starts] == [0, 16]
    code, _, err = train("--resume", "--images", "48", "--log", "recorder:book=other.jsonl")
    assert code == 0, err
    assert heard(here / "other.jsonl")[0][-1] == 32
    assert len(heard(here / "first.jsonl")) == 2 * len(heard(here / "other.jsonl"))


@pytest.mark.parametrize("method", ["start", "log", "picture", "finish"])
def test_a_logger_that_fails_is_told_of_once_and_training_goes_on(train, here, method):
    code, _, err = train("--log", f"recorder:fails_in={method}", "--images", "48")
    assert code == 0, err
    told = [line for line in err.splitlines() if "logger 'recorder' is disabled" in line]
    assert len(told) == 1
    assert "ConnectionError: no route to the dashboard" in told[0]
    assert [row["images"] for row in rows(here)] == [16, 32, 48]


def test_a_logger_changes_nothing_of_a_run(train, here):
    assert train("--images", "32", "--name", "without")[0] == 0
    assert train("--images", "32", "--name", "with", "--log", "recorder")[0] == 0
    without, logged = sorted(here.glob("runs/*/generator.safetensors"))
    assert without.read_bytes() == logged.read_bytes()


def test_tensorboard_shows_curves_grids_and_the_configuration(run, here, image_folder):
    code, out, err = run("train", "--data", str(image_folder), *TINY, "--log", "tensorboard", "--images", "32")
    assert code == 0, err
    code, _, err = run("train", "--resume", "--images", "48")
    assert code == 0, err
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(here / out.strip() / "tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    curve = events.Scalars("generator/loss")
    assert [each.step for each in curve] == [16, 32, 48]
    assert [each.value for each in curve] == pytest.approx([row["generator/loss"] for row in rows(here)], rel=1e-6)
    assert [each.step for each in events.Images("samples")] == [16, 32, 48]
    assert events.Images("samples")[0].encoded_image_string[:4] == b"\x89PNG"
    text = events.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "'name': 'mlp'" in text


@pytest.mark.slow
def test_without_tensorboard_one_line_names_the_extra(here, image_folder):
    hide = "import sys; sys.modules['tensorboard'] = None; from ganforge.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", hide, "train", "--data", str(image_folder), *TINY, "--log", "tensorboard"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode == 2
    assert told.stderr.splitlines()[-1].startswith("error: logger 'tensorboard' needs the package tensorboard")
    assert 'pip install "ganforge[tensorboard]"' in told.stderr
    assert "Traceback" not in told.stderr
    assert not (here / "runs").exists()
