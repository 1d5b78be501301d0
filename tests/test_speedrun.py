"""The verifier of the speedrun measures a command and refuses entries that miss their track."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).parents[1] / "docs" / "speedrun.py")
TRAIN = [
    *(sys.executable, "-m", "ganforge", "train", "--arch", "mixture", "--data", "grid-25", "--device", "cpu"),
    *("--images", "512", "--engine", "eager", "--precision", "float32", "--set", "training.threads=1"),
]


@pytest.fixture
def run(monkeypatch, capsys):
    def verify(*arguments):
        monkeypatch.setattr(sys, "argv", ["speedrun.py", *arguments])
        try:
            runpy.run_path(SCRIPT, run_name="__main__")
        except SystemExit as error:
            return error.code, ""
        return 0, capsys.readouterr().out

    return verify


@pytest.mark.exhaustive
def test_an_entry_that_misses_the_goal_is_refused_with_its_values(run):
    code, _ = run("grid-25", "--", *TRAIN)
    assert re.match(r"(num_covered is \d+|high_quality is 0\.\d+), the goal is ", code)
    assert '"cpu_seconds"' in code


@pytest.mark.slow
def test_an_entry_is_measured(run, monkeypatch, tmp_path):
    program = "import os; os.makedirs('runs/0'); sum(range(20_000_000)); print('noise')"
    coverage = {"num_covered": 25, "high_quality": 0.99, "counts": [1]}
    rows = [{"metric": "modes", "value": 25, "details": {"coverage": coverage}}]
    fake = f"import json; print(json.dumps({rows}))"
    (tmp_path / "ganforge").mkdir()
    (tmp_path / "ganforge" / "__init__.py").touch()
    (tmp_path / "ganforge" / "__main__.py").write_text(fake)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, printed = run("grid-25", "--", sys.executable, "-c", program)
    assert code == 0
    result = json.loads(printed)
    assert (result["track"], result["modes"], result["high_quality"]) == ("grid-25", 25, 0.99)
    assert 0.1 < result["cpu_seconds"] < 30


@pytest.mark.parametrize(
    ("program", "message"),
    [("raise SystemExit(3)", "failed with exit code 3"), ("pass", "the command left neither samples nor runs")],
)
def test_a_command_without_a_result_is_refused(run, program, message):
    code, _ = run("faces", "--", sys.executable, "-c", program)
    assert message in code
