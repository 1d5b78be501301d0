"""A failing or hanging item does not end a stage of `.ci/gpu`, and all output is kept."""

import os
import sys
import time
from pathlib import Path

import pytest

STAGES = Path(__file__).parent.parent / ".ci" / "gpu_stages"
NAMES = ("proof", "speed", "training", "evaluation", "rest")

pytestmark = pytest.mark.skipif(not STAGES.is_dir(), reason="needs a checkout")


@pytest.fixture(scope="module")
def items():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(STAGES))
        import items

        yield items
        for name in ("items", "command", "wheels", *NAMES):
            sys.modules.pop(name, None)


def fail(context):
    print("about to fail")
    raise ValueError("broken")


def hang(context):
    if not os.fork():  # a child of its own ends with it
        time.sleep(3)
        (context.out / "survivor").touch()
    time.sleep(60)


def leave(context):
    sys.exit("FAILED: unequal")


def work(context):
    (context.work / "scratch").write_text("x")
    print("device", context.device, context.pick("real", "small"), flush=True)


def test_every_item_is_run_within_its_time_and_its_output_is_kept(items, tmp_path, capsys):
    context = items.Context("cpu", True, tmp_path)
    listed = [("fails", 20, fail), ("hangs", 0.5, hang), ("leaves", 20, leave), ("works", 20, work)]
    failed = items.run_stage("stage", [items.Item(*each) for each in listed], context, "")
    assert failed == ["stage/fails", "stage/hangs", "stage/leaves"]
    log = (tmp_path / "stage.log").read_text()
    for text in ("about to fail", "ValueError: broken", "FAILED: unequal", "device cpu small"):
        assert text in log
    rows = [line.split("\t") for line in (tmp_path / "summary.tsv").read_text().splitlines()]
    assert [row[:3] for row in rows] == [
        ["stage", "fails", "1"], ["stage", "hangs", "124"], ["stage", "leaves", "1"], ["stage", "works", "0"],
    ]  # fmt: skip
    assert not (tmp_path / "survivor").exists()


def test_a_stage_can_run_one_item(items, tmp_path):
    context = items.Context("cpu", True, tmp_path)
    failed = items.run_stage("stage", [items.Item("a", 9, fail), items.Item("b", 9, work)], context, "b")
    assert failed == []
    assert len((tmp_path / "summary.tsv").read_text().splitlines()) == 1


def test_each_stage_fits_into_ten_minutes(items):
    for name in NAMES:
        found = __import__(name).ITEMS
        assert sum(item.seconds for item in found) <= 570
        assert len({item.name for item in found}) == len(found)


def test_wheels_are_those_that_ganforge_and_its_tests_import(items):
    from wheels import needed

    found = needed()
    assert {"msgspec", "pluggy", "pytest", "pytest-xdist", "safetensors", "torch-fidelity", "typer", "rich"} <= found
    assert not found & {"torch", "torchvision", "numpy", "ganforge", "hatchling", "selenium"}


@pytest.mark.slow
def test_the_gpu_tests_import_only_what_is_carried(items):
    """Collecting them must not need a browser or ONNX, which such a machine may lack."""
    import subprocess

    script = (
        "import sys, runpy\n"
        "for name in ('selenium', 'onnx', 'onnxruntime', 'hypothesis'): sys.modules[name] = None\n"
        "runpy.run_path('tests/test_gpu.py')\n"
    )
    root = STAGES.parent.parent
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True)
