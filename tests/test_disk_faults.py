"""The fault injector, for a few operations; ``python tests/disk_faults.py`` for all."""

import subprocess
import sys
from pathlib import Path

import pytest
from forking import explain_unavailable

pytestmark = pytest.mark.skipif(bool(explain_unavailable()), reason=explain_unavailable() or "available")


@pytest.mark.slow
def test_a_run_loses_nothing_by_an_operation_that_fails():
    injector = Path(__file__).with_name("disk_faults.py")
    arguments = ["--only", "train", "--stride", "170", "--offset", "33", "--faults", "killed", "torn", "ENOSPC"]
    done = subprocess.run([sys.executable, injector, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| train |" in done.stdout
