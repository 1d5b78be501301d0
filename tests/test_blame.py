"""What a part raises in mid-run is one line that names part and plugin."""

import asyncio

import pytest
import torch

from ganforge.blame import MAKERS, blaming
from ganforge.errors import DataError, PluginError


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        OSError(28, "No space left on device"),
        StopIteration(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        BaseException("base"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_part_raises_names_it_and_its_plugin(monkeypatch, error):
    monkeypatch.setitem(MAKERS, ("loss", "mine"), "my-losses")
    with (
        pytest.raises(PluginError, match="loss 'mine' of plugin 'my-losses' failed: ") as found,
        blaming("loss", "mine"),
    ):
        raise error
    assert found.value.__cause__ is error
    assert "\n" not in found.value.message
    assert "sys.exit(3)" in found.value.message or f"{type(error).__name__}: " in found.value.message


@pytest.mark.parametrize(
    "error",
    [
        DataError("of ours"),
        KeyboardInterrupt(),
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        torch.OutOfMemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_the_part_passes(error):
    with pytest.raises(type(error)) as found, blaming("loss", "mine"):
        raise error
    assert found.value is error


def test_the_line_of_the_part_is_named_and_not_that_of_torch():
    with pytest.raises(PluginError, match=r"test_blame\.py, line \d+") as found, blaming("generator", "wrong"):
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))
    assert "torch/" not in found.value.message
