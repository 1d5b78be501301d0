"""Damaged checkpoints are imported or refused in one line; nothing of them is executed."""

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


def test_the_fuzzer_sees_what_is_executed(pickles, tmp_path, monkeypatch):
    import os

    from ganforge.builtin.stylegan2_ada import StyleGAN2ADA

    read = StyleGAN2ADA.read
    monkeypatch.setattr(StyleGAN2ADA, "read", lambda self, path: os.system("true") or read(self, path))
    with pytest.raises(AssertionError, match=r"executed: .*os.system"):
        fuzz_import.run(pickles, 1)
