"""What is optional may be absent: all else works, and what needs it says in one line how to get it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]

HIDE = """
import sys

sys.modules |= dict.fromkeys({hidden})  # as if it were not installed
from ganforge.cli import main
for command in {commands}:
    try:
        main(command)
    except SystemExit as end:
        if end.code:
            raise
"""

TINY = ["--set", "generator.width=4", "--set", "discriminator.width=4", "--batch", "8", "--images", "8",
        "--set", "training.samples=4", "--engine", "eager", "--device", "cpu"]  # fmt: skip


def packages(extra):
    return {each.split(">=")[0] for each in PROJECT["optional-dependencies"][extra] if not each.startswith("ganforge[")}


@pytest.fixture
def without(here):
    for number in range(8):
        Image.effect_noise((16, 16), 50 + number).save(here / f"{number}.png")

    def call(hidden, *commands):
        code = HIDE.format(hidden=repr(hidden), commands=repr([list(map(str, each)) for each in commands]))
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)

    return call


def test_without_any_of_them_one_can_train_sample_report_and_export(without):
    hidden = packages("onnx") | packages("tensorboard")
    assert {"onnx", "onnxscript", "onnxruntime", "tensorboard"} == hidden
    train, export = ["train", "--data", ".", *TINY], ["export", "--torchscript"]
    told = without(hidden, ["plugins", "doctor"], train, ["sample"], ["report"], export)
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(("extra", "command"), [
    ("onnx", ["export", "--onnx"]),
    ("tensorboard", ["train", "--resume", "--images", "16", "--log", "tensorboard"]),
])  # fmt: skip
def test_what_needs_one_names_the_extra_in_one_line(without, extra, command):
    told = without(packages(extra), ["train", "--data", ".", *TINY], command)
    assert told.returncode == 2
    last = told.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert f"ganforge[{extra}]" in last
    assert "Traceback" not in told.stderr
