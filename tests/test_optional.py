"""Without what is optional all else works, and one line names the extra that is missing."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
EXTRAS = {
    name: [re.match(r"[\w-]+", each)[0].replace("-", "_") for each in needs]
    for name, needs in PROJECT["optional-dependencies"].items()
    if name not in {"test", "docs", "dev"}
}
"""Import names of optional packages by extra; those of the distributions are equal but for hyphens."""

# Hidden is what no finder finds, as in an installation that never had it: torch looks for onnx, and is content without.
WITHOUT = """
import contextlib, io, json, sys
from importlib.machinery import PathFinder

hidden, commands = json.loads(sys.argv[1])
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda cls, name, *where: None if name.partition(".")[0] in hidden else find(name, *where)
)
from ganforge.cli import main

said = []
for command in commands:
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            main(command)
        except SystemExit as stop:
            said.append([stop.code or 0, error.getvalue()])
json.dump(said, sys.stdout)
"""

TRAIN = [
    *("train", "--data", "photos", "--resolution", "16", "--images", "16", "--batch", "8", "--device", "cpu"),
    *("--set", "generator.width=4", "--set", "discriminator.width=4", "--set", "training.samples=4"),
    *("--set", "training.engine=eager", "--set", "training.precision=float32"),
]
REST = [
    [*TRAIN, "--out", "runs"],
    ["sample", "--count", "2"],
    ["export", "--torchscript"],
    ["export", "--cpp-project", "viewer"],
    ["report"],
    ["plugins", "doctor"],
    ["plugins", "info", "onnx"],
    ["plugins", "info", "tensorboard"],
]
NEEDS = {
    "onnx": [["export", "--onnx"], ["export", "--web", "page"], ["eval", "generator.onnx", "--kid"]],
    "tensorboard": [[*TRAIN, "--log", "tensorboard"]],
    "parquet": [["data", "check", "table"]],
    "heic": [["explore", "project", "--image", "phone.heic"]],
}
"""Commands that cannot do without an extra."""


def test_every_extra_has_a_command_that_needs_it():
    assert NEEDS.keys() == EXTRAS.keys()


@pytest.mark.slow
def test_without_any_extra_the_rest_works_and_one_line_names_what_is_missing(here, image_folder):
    (here / "generator.onnx").write_bytes(b"a graph")
    (here / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    shutil.copytree(image_folder, here / "table")
    (here / "table" / "metadata.parquet").write_bytes(b"a table")
    asked = [(extra, command) for extra, commands in NEEDS.items() for command in commands]
    hidden = sorted(name for names in EXTRAS.values() for name in names)
    commands = [*REST, *(command for _, command in asked)]
    script = [sys.executable, "-c", WITHOUT, json.dumps([hidden, commands])]
    done = subprocess.run(script, cwd=here, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert len(said) == len(commands)
    for command, (code, error) in zip(REST, said, strict=False):
        assert code == 0, f"{command}: {error}"
    for (extra, command), (code, error) in zip(asked, said[len(REST) :], strict=True):
        assert code == 2, f"{command}: {error}"
        (line,) = [each for each in error.splitlines() if each.startswith("error: ")]
        assert line.endswith(f'pip install "ganforge[{extra}]"'), line
        assert "Traceback" not in error
