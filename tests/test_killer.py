"""The killer, for a few kills; ``python tests/killer.py`` for many."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.exhaustive
def test_a_run_that_is_killed_again_and_again_loses_nothing():
    killer = Path(__file__).with_name("killer.py")
    arguments = ["--kills", "4", "--images", "240", "--seed", "3", "--only", "growing"]
    done = subprocess.run([sys.executable, killer, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n| 4 |" in done.stdout
