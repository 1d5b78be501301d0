"""Hostile run directories, a few of them; ``python tests/hostile_runs.py`` for many."""

import subprocess
import sys
from pathlib import Path

import pytest
from forking import explain_unavailable

pytestmark = pytest.mark.skipif(bool(explain_unavailable()), reason=explain_unavailable() or "available")


@pytest.mark.slow
def test_the_run_folder_of_a_stranger_does_no_harm():
    script = Path(__file__).with_name("hostile_runs.py")
    arguments = ["--folders", "5", "--only", "report", "runs", "resume"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 folders" in done.stdout
