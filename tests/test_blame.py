"""An exception of a part during a run is one line that names part and plugin."""

import asyncio

import pytest
import torch

from ganforge.contract.errors import DataError, PluginError
from ganforge.plugins.part_errors import PLUGIN_NAMES, part_errors
from ganforge.training.recording.loggers import Loggers


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
    monkeypatch.setitem(PLUGIN_NAMES, ("loss", "mine"), "my-losses")
    said = "loss 'mine' of plugin 'my-losses' failed: "
    with pytest.raises(PluginError, match=said) as found, part_errors("loss", "mine"):
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
    with pytest.raises(type(error)) as found, part_errors("loss", "mine"):
        raise error
    assert found.value is error


def test_the_line_of_the_part_is_named_and_not_that_of_torch():
    with pytest.raises(PluginError, match=r"test_blame\.py, line \d+") as found, part_errors("generator", "wrong"):
        torch.nn.Linear(3, 4)(torch.zeros(2, 5))
    assert "torch/" not in found.value.message


@pytest.mark.parametrize("error", [asyncio.CancelledError(), GeneratorExit(), SystemExit(3)], ids=repr)
def test_a_logger_that_raises_anything_is_left_out_and_the_run_goes_on(error):
    class Bad:
        def log(self, images, values):
            raise error

    told = []

    class Good:
        def log(self, images, values):
            told.append((images, values))

    class Immediate:
        def submit(self, call, *arguments):
            call(*arguments)

    said = []
    loggers = Loggers({"bad": Bad(), "good": Good()}, Immediate(), said.append)
    for images in (1, 2):
        loggers.score({"images": images, "fid": 3.0}, None)
    assert told == [(1, {"fid": 3.0}), (2, {"fid": 3.0})]
    assert len(said) == 1
    assert said[0].startswith("logger 'bad' is disabled: ")
