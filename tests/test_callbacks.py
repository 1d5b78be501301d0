"""Callbacks follow a run, may stop it, and can do it no other harm."""

import json

import pytest

from ganforge import Callback, OptionError
from ganforge.builtin.callbacks import EarlyStop
from ganforge.testing import check_callback

STRANGER = """
import json
from pathlib import Path
from ganforge import Callback, hookimpl

class Follower(Callback):
    "Writes down what it is told."

    def __init__(self, *, fails_in: str = "", stops_at: int = 1000000) -> None:
        self.fails_in, self.stops_at = fails_in, stops_at

    def note(self, what, images, *rest):
        if what == self.fails_in:
            raise KeyError("no\\nsuch thing")
        with Path("book.jsonl").open("a") as file:
            file.write(json.dumps([what, images, *rest]) + "\\n")
        return "enough" if images >= self.stops_at else None

    def start(self, run, config, images):
        self.note("start", images, run.name, sorted(config["callbacks"]))

    def tick(self, images, values):
        return self.note("tick", images, "generator/loss" in values)

    def checkpoint(self, images, path):
        return self.note("checkpoint", images, path.is_file())

    def finish(self):
        self.note("finish", 0)

@hookimpl
def ganforge_callbacks():
    return {"follower": Follower}
"""

TINY = ["--arch", "mlp", "--batch", "8", "--device", "cpu", "--engine", "eager", "--precision", "float32",
        "--set", "training.samples=4", "--set", "training.tick_images=16", "--set", "generator.hidden=8",
        "--set", "discriminator.hidden=8", "--set", "training.layout=contiguous",
        "--set", "training.threads=1"]  # fmt: skip


@pytest.fixture
def train(run, here, image_folder):
    (here / "stranger.py").write_text(STRANGER)

    def call(*arguments):
        data = [] if "--resume" in arguments else ["--data", str(image_folder), *TINY]
        return run("train", *data, "--plugin", "stranger.py", *arguments)

    return call


def book(here):
    return [json.loads(line) for line in (here / "book.jsonl").read_text().splitlines()]


def rows(here):
    (file,) = here.glob("runs/*/metrics.jsonl")
    return [json.loads(line)["images"] for line in file.read_text().splitlines()]


def test_it_hears_of_all_events_in_order(train, here):
    code, _, err = train("--callback", "follower", "--images", "32")
    assert code == 0, err
    names = ["start", "checkpoint", "tick", "tick", "checkpoint", "finish"]
    assert [(what, images) for what, images, *_ in book(here)] == list(zip(names, [0, 0, 16, 32, 32, 0], strict=True))
    assert all(rest == [True] for what, _, *rest in book(here) if what in ("tick", "checkpoint"))


def test_it_stops_a_run_which_can_be_resumed(train, here):
    code, _, err = train("--callback", "follower:stops_at=16", "--images", "64")
    assert code == 0
    assert "stopped by callback 'follower': enough" in err
    assert rows(here) == [16]
    assert (next(here.glob("runs/*")) / "checkpoints/000000016.safetensors").is_file()
    code, _, err = train("--resume")
    assert code == 0, err
    assert rows(here) == [16, 32]
    assert ["start", 16] in [each[:2] for each in book(here)]


def test_weights_are_the_same_with_and_without(train, here, tmp_path):
    assert train("--images", "32", "--out", "without")[0] == 0
    assert train("--images", "32", "--out", "with", "--callback", "follower")[0] == 0
    first, second = (next((here / each).glob("*/generator.safetensors")) for each in ("without", "with"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("method", ["tick", "checkpoint", "finish"])
def test_one_that_fails_is_named_and_training_goes_on(train, here, method):
    code, _, err = train("--callback", f"follower:fails_in={method}", "--images", "32")
    assert code == 0
    assert err.count("callback 'follower' is disabled: KeyError: 'no") == 1
    assert rows(here) == [16, 32]


def test_one_that_fails_at_the_start_ends_the_run(train, here):
    code, _, err = train("--callback", "follower:fails_in=start", "--images", "32")
    assert code == 2
    assert "callback 'follower' of plugin 'stranger' failed: KeyError" in err


def test_early_stop_by_a_score_needs_scores(train):
    code, _, err = train("--callback", "early-stop:metric=fd", "--images", "32")
    assert code == 2
    assert "metric=fd: there are no scores - add --eval-every 50k --metrics fd" in err


def test_early_stop_without_scores_follows_the_patch_distance(tmp_path):
    rows = [{"images": images, "images_per_second": 10.0, "patch_distance": 0.2} for images in (10, 20)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (tmp_path / "config.json").write_text("{}")
    stop = EarlyStop(patience=20)
    stop.start(tmp_path, {"training": {"eval_every": None}}, 20)
    assert stop.tick(30, {"patch_distance": 0.3}) == "patch_distance did not improve on 0.2, at 10 images, in 20 images"


def test_early_stop_of_other_data_than_images_is_told_to_need_scores(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    stop = EarlyStop(patience=20)
    stop.start(tmp_path, {"training": {"eval_every": None}}, 0)
    with pytest.raises(OptionError, match="only images have a patch distance .* --metrics fd"):
        stop.tick(10, {"generator/loss": 0.5})


def test_early_stop_waits_for_its_patience():
    stop = EarlyStop(patience=20, least=0.1)
    found = [stop.score(images, {"fd": value}) for images, value in ((10, 5.0), (20, 4.0), (30, 3.9), (40, 3.7))]
    assert found == [None, None, None, "fd did not improve on 4, at 20 images, in 20 images"]


def test_early_stop_ends_a_run_whose_samples_are_copies_twice():
    stop = EarlyStop(patience=200, memorization=0.2)
    shares = (0.3, 0.1, 0.2, 0.25, 0.3)
    found = [stop.score(images, {"fd": 1.0, "memorization": share}) for images, share in enumerate(shares)]
    assert found == [None, None, None, None, "memorization 0.30: samples copy training images"]
    with pytest.raises(ValueError, match=r"memorization=2 must be from 0 to 1"):
        EarlyStop(memorization=2)


def test_early_stop_of_a_resumed_run_knows_earlier_scores(tmp_path):
    lines = [
        {"images": 10, "seconds": 1.0, "images_per_second": 10.0, "generator/loss": 0.5},
        {"images": 10, "seconds": 1.0, "fd": 2.0, "kd": 9.0},
        {"images": 20, "seconds": 2.0, "fd": 3.0, "kd": 1.0},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    (tmp_path / "config.json").write_text('{"training": {"eval_every": 10}}')
    stop = EarlyStop(patience=20)
    stop.start(tmp_path, {"training": {"eval_every": 10}}, 20)
    assert stop.score(30, {"fd": 2.5}) == "fd did not improve on 2, at 10 images, in 20 images"


@pytest.mark.slow
def test_early_stop_ends_a_run(train, here):
    scores = ["--eval-every", "16", "--metrics", "fd", "--set", "training.eval_samples=16"]
    still = ["--set", "optimizer.generator_lr=0", "--set", "training.ema_images=0"]
    code, _, err = train("--callback", "early-stop:patience=32", "--images", "800", *scores, *still)
    assert code == 0, err
    assert "stopped by callback 'early-stop': fd_" in err
    assert max(rows(here)) < 100


class Talkative(Callback):
    """Returns a number."""

    def tick(self, images, values):
        return images


def test_checks_tell_in_a_sentence(tmp_path):
    check_callback(EarlyStop, tmp_path)
    with pytest.raises(AssertionError, match="tick returned 32; return a reason as text, or None"):
        check_callback(Talkative, tmp_path)
