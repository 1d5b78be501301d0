"""Damaged checkpoints are imported or refused in one line; nothing of them is executed."""

import os
import subprocess
import sys
from pathlib import Path

import fuzz_import
import pytest
import stylegan2_files as files
import torch


@pytest.fixture
def pickles(here):
    torch.manual_seed(0)
    small = {"resolution": 8, "width": 2, "most": 2}
    return [
        files.write(
            here / f"{number}.pkl",
            G=files.generator(**small, **options),
            G_ema=files.generator(**small, **options),
            D=files.discriminator(**small, c_dim=options.get("c_dim", 0)),
        )
        for number, options in enumerate(({}, {"c_dim": 2, "architecture": "resnet", "clamp": 2.0}))
    ]


def test_variants_of_a_file_are_imported_or_refused(pickles):
    outcomes = fuzz_import.run(pickles, 40)
    assert outcomes.total() == 40
    assert len(outcomes) > 3


@pytest.mark.exhaustive
def test_ten_thousand_variants_are_imported_or_refused(pickles):
    assert fuzz_import.run(pickles, 10_000).total() == 10_000


class Trap:
    """An object that is a call of another function."""

    def __reduce__(self):
        return (os.getpid, ())


@pytest.mark.slow
def test_nothing_is_imported_to_tell_the_names_of_a_file(pickles):
    """In a new process, because codecs are imported once."""
    networks = {name: files.generator(resolution=8, width=2, most=2) for name in ("G", "G_ema")}
    other = files.write(pickles[0].with_name("other.pkl"), **networks, extra=Trap())
    code = (
        "import sys, fuzz_import; from pathlib import Path; clean, other = map(Path, sys.argv[1:])\n"
        "fuzz_import.vary = lambda *_: other.read_bytes()\nprint(fuzz_import.run([clean], 1))"
    )
    command = [sys.executable, "-c", code, pickles[0], other]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert "'imported': 1" in done.stdout, done.stderr


def test_the_fuzzer_sees_what_is_executed(pickles, tmp_path, monkeypatch):
    from ganforge.builtin.stylegan2_ada import StyleGAN2ADA

    read = StyleGAN2ADA.read
    monkeypatch.setattr(StyleGAN2ADA, "read", lambda self, path: os.system("true") or read(self, path))
    with pytest.raises(AssertionError, match=r"executed: .*os.system"):
        fuzz_import.run(pickles, 1)
