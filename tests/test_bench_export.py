"""bench --export times what is exported: each file beside the network, and says in one line what it leaves out."""

import importlib.util
import json
import os
import shutil
import sys

import pytest
import torch

from ganforge.benchmark import inference
from ganforge.benchmark.inference import LOADERS, Served, call_eager, make_row, measure_serving, time_programs
from ganforge.benchmark.programs import LEAST_SECONDS, Programs, build_programs, join, run_program
from ganforge.benchmark.report import SERVING
from ganforge.benchmark.timing import Timing
from ganforge.benchmark.training_setup import draw_noise, open_players
from ganforge.config.schema import resolve
from ganforge.contract.errors import GanforgeError
from ganforge.data.pack import probe_spec
from ganforge.export.examples import CallOptions, make_example
from ganforge.export.portable import Portable
from ganforge.plugins.loading import load_plugins
from ganforge.plugins.registry import Registry

COMMAND = ["bench", "--export", "--arch", "mlp", "--resolution", "8", "--seconds", "0", "--set=training.threads=1"]


@pytest.fixture(scope="module")
def registry():
    return Registry(load_plugins())


def players_of(registry, *layers):
    base = {"recipe": "mlp", "data": {"resolution": "8"}, "training": {**SERVING, "threads": "1", "batch": "4"}}
    config = resolve(registry, base, *layers)
    data = draw_noise(probe_spec(config.data, registry), config.training.batch)
    return open_players(config, registry, data, torch.device("cpu"), pytest.fail)


def served(rows):
    return {(row["format"], row["precision"], row["language"], row["batch"]) for row in rows}


def at_each_batch(*kinds):
    return {(*kind, batch) for kind in kinds for batch in (1, 64)}


def check_rows(rows):
    eager = {row["batch"]: row["median_seconds"] for row in rows if row["format"] == "eager"}
    assert eager.keys() == {1, 64}
    for row in rows:
        assert 0 < row["min_seconds"] <= row["median_seconds"] <= row["max_seconds"]
        assert row["samples"] >= 3
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["median_seconds"])
        if row["language"] == "Python":
            assert row["ratio"] == pytest.approx(row["median_seconds"] / eager[row["batch"]])
        assert row["ratio"] > 0


# In Python


@pytest.mark.slow
def test_each_call_gives_what_the_network_gives_for_its_batch(registry, tmp_path):
    players = players_of(registry, {"recipe": "cgan", "generator": {"hidden": "16"}, "discriminator": {"hidden": "16"}})
    generator, data = players.state.ema.eval(), players.data.spec
    portable = Portable(generator, data)
    card = inference.describe_generator(players)
    paths = {}
    for name in ("torchscript", "onnx"):
        exporter = registry.build("exporter", name, {})
        paths[exporter.suffix] = tmp_path / f"generator{exporter.suffix}"
        exporter.export(generator, card, paths[exporter.suffix])
    for batch in (1, 64):
        example = make_example(portable, generator, CallOptions(batch))
        assert list(example.inputs) == ["z", "labels"]
        with torch.no_grad():
            assert torch.equal(call_eager(generator, example.inputs)(), example.output)
            output = LOADERS[".pt"](paths[".pt"], example.inputs)()
        torch.testing.assert_close(output, example.output, rtol=0, atol=1e-5)
        (output,) = LOADERS[".onnx"](paths[".onnx"], example.inputs)()
        torch.testing.assert_close(torch.from_numpy(output), example.output, rtol=0, atol=1e-4)


def test_a_row_tells_all_that_was_measured():
    row = make_row(Served("onnx", "float32", "C++", 64), Timing(0.02, 0.01, 0.03, 5), 0.25)
    assert row == {
        "format": "onnx",
        "precision": "float32",
        "language": "C++",
        "batch": 64,
        "median_seconds": 0.02,
        "min_seconds": 0.01,
        "max_seconds": 0.03,
        "samples": 5,
        "images_per_second": pytest.approx(3200),
        "ratio": 0.25,
    }


def test_what_cannot_be_had_is_told_and_left_out(registry, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(
        inference, "FORMATS", (("onnx", "float32"), ("torchscript", "bfloat16"), ("nonsense", "float32"))
    )
    said = []
    report = measure_serving(players_of(registry), registry, 0.0, said.append)
    assert said == report["left_out"]
    assert [line.split(" is not measured: ")[0] for line in said] == [
        "onnx, float32",
        "torchscript, bfloat16",
        "nonsense, float32",
        "C++",
    ]
    for line, reason in zip(said, ("needs onnxruntime", "avx512_bf16", "unknown exporter", "cmake"), strict=True):
        assert reason in line
        assert "\n" not in line
    assert served(report["rows"]) == at_each_batch(("eager", "float32", "Python"))
    check_rows(report["rows"])
    assert report["versions"]["compiler"] is None


@pytest.mark.parametrize("flags", [["avx512_bf16"], ["amx_tile"], ["avx512_bf16", "amx_tile"]])
def test_processors_with_bfloat16_are_known(monkeypatch, flags):
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in flags)
    inference.check_precision("bfloat16")


# In C++

FAKE = """#!{python}
import json, sys
from pathlib import Path

with open("{log}", "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1].endswith(".pt2"):
    sys.exit("error: it is\\nbroken")
turn = len(Path("{log}").read_text().splitlines())
print(json.dumps({{"calls": 10, "seconds": [turn, turn + 1, turn + 2], "batch": int(sys.argv[3])}}))
"""


@pytest.fixture
def fake(tmp_path):
    """A program that records its arguments, takes longer from call to call, and fails for ``.pt2``."""
    program, log = tmp_path / "program", tmp_path / "log"
    program.write_text(FAKE.format(python=sys.executable, log=log))
    program.chmod(0o755)
    return Programs("none", {".pt": program, ".pt2": program}), log


@pytest.fixture
def eager(monkeypatch):
    """The network at both batches; it takes 4 seconds at 1, and 2 at 64."""

    def time(calls, seconds):
        return {each: Timing(4.0 if each.batch == 1 else 2.0, 1.0, 9.0, 5) for each in calls}

    monkeypatch.setattr(inference, "time_python", time)
    return {Served("eager", "float32", "Python", batch): lambda: None for batch in (1, 64)}


def test_files_have_their_turns_in_three_rounds_each_beside_the_network(fake, eager, tmp_path):
    programs, log = fake
    names = {("torchscript", "float32"): "a.pt", ("torchscript", "bfloat16"): "b.pt"}
    files = {key: tmp_path / name for key, name in names.items()}
    rows = time_programs(programs, files, eager, 6.0, pytest.fail)
    given = [json.loads(line) for line in log.read_text().splitlines()]
    threads = ["--threads", str(torch.get_num_threads())]
    one_round = [
        [str(path), "--batch", str(batch), "--seconds", "2.0", *threads] for path in files.values() for batch in (1, 64)
    ]
    assert given == 3 * one_round
    # The turns of the first file at batch 1 are the calls 1, 5 and 9.
    timing = Timing(median=6, least=1, most=11, samples=30)
    assert rows[0] == make_row(Served("torchscript", "float32", "C++", 1), timing, 6 / 4)
    assert [row["ratio"] for row in rows] == [6 / 4, 7 / 2, 8 / 4, 9 / 2]


def test_a_file_that_fails_has_no_further_turn(fake, eager, tmp_path):
    programs, log = fake
    told = []
    files = {
        ("torchscript", "float32"): tmp_path / "a.pt",
        ("pt2", "float32"): tmp_path / "a.pt2",
        ("onnx", "float32"): tmp_path / "a.onnx",
    }
    rows = time_programs(programs, files, eager, 0.0, lambda what, why: told.append((what, why)))
    assert {row["format"] for row in rows} == {"torchscript"}
    assert told[0][0] == "onnx, float32, from C++"
    assert "ONNXRUNTIME_ROOT" in told[0][1]
    assert told[1:] == [(f"pt2, float32, batch {batch}, from C++", "program fails: it is") for batch in (1, 64)]
    given = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(given) == 3 * 2 + 2
    assert {each[4] for each in given} == {str(LEAST_SECONDS)}


def test_timings_are_joined():
    timings = [Timing(3.0, 1.0, 4.0, 5), Timing(2.0, 1.5, 9.0, 6), Timing(2.5, 0.5, 3.0, 7)]
    assert join(timings) == Timing(median=2.5, least=0.5, most=9.0, samples=18)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo fine; echo; echo ' x.cpp:3: fatal error: no   such header' >&2; exit 1",
            "x.cpp:3: fatal error: no such",
        ),
        ("printf 'a\\nCMake Error at C:1 (find):\\n  nothing there\\nmore\\n' >&2; exit 1", "(find): nothing there"),
        ("echo hopeless; exit 3", "hopeless"),
        ("exit 3", "exit code 3"),
    ],
)
def test_what_a_program_says_of_its_failure_is_one_line(script, message):
    with pytest.raises(GanforgeError, match="^sh fails: ") as caught:
        run_program("sh", "-c", script)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert "more" not in caught.value.message


def test_a_program_that_cannot_be_started_is_told(tmp_path):
    with pytest.raises(GanforgeError, match="^nothing cannot be started: No such file or directory$"):
        run_program(tmp_path / "nothing")


def test_a_build_that_fails_is_told(monkeypatch, tmp_path):
    if not shutil.which("cmake"):
        pytest.skip("needs cmake")
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(GanforgeError, match="cmake fails: .*no-such-compiler"):
        build_programs(tmp_path)


# The command


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fit"], "--export and --fit are mutually exclusive"),
        (
            ["--compare", "training.batch=8", "--compare", "training.batch=4"],
            "--export and --compare are mutually exclusive",
        ),
        (["--compare", "nonsense"], "--export and --compare are mutually exclusive"),
        (["--batch", "8"], "--export and --batch are mutually exclusive"),
        (["--precision", "bfloat16"], "--export and --precision are mutually exclusive"),
        (["--engine", "eager"], "--export and --engine are mutually exclusive"),
        (["--device", "cuda"], "--device cuda: --export measures files on the CPU"),
    ],
)
def test_what_excludes_export_is_refused_in_one_line(run, here, flags, message):
    code, out, err = run(*COMMAND, *flags)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_the_table_names_each_batch_and_file(run, here, monkeypatch):
    monkeypatch.setattr(inference, "FORMATS", (("torchscript", "float32"),))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    code, out, err = run(*COMMAND)
    assert code == 0
    assert err.splitlines()[0].startswith("torchscript, float32: exported, equal to the network within ")
    assert err.splitlines()[1:] == ["C++ is not measured: cmake is not found (install cmake and a C++ compiler)"]
    lines = out.splitlines()
    assert lines[0] == "generator of mlp (3x8x8)"
    assert lines[1] == "on cpu: 1 thread"
    table = [line.split() for line in lines[5:]]
    names = [words[: -6 if len(words) > 2 else 2] for words in table]
    assert names == [
        each for batch in ("1", "64") for each in (["batch", batch], ["eager", "float32"], ["torchscript", "float32"])
    ]
    assert [words[-1] for words in table if words[0] == "eager"] == ["1.000", "1.000"]


@pytest.mark.exhaustive
def test_all_is_measured_where_all_is_there(run, here):
    code, out, _ = run(*COMMAND, "--json")
    assert code == 0
    report = json.loads(out)
    compiler = any(map(shutil.which, (os.environ.get("CXX", ""), "C++", "g++", "clang++")))
    from_cpp = compiler and shutil.which("cmake") is not None
    runtime = "ONNXRUNTIME_ROOT" in os.environ
    missing = {
        "torchscript": False,
        "onnx": any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
        "pt2": not compiler,
    }
    expected = {("eager", "float32", "Python")}
    for name, precision in inference.FORMATS:
        if missing[name] or (precision == "bfloat16" and not has_bfloat16()):
            continue
        expected.add((name, precision, "Python"))
        if from_cpp and (name != "onnx" or runtime):
            expected.add((name, precision, "C++"))
    rows = report["serving"]["rows"]
    assert served(rows) == at_each_batch(*expected), report["serving"]["left_out"]
    check_rows(rows)
    assert report["serving"]["versions"].keys() == {"onnxruntime", "compiler"}
    assert report["device"]["type"] == "cpu"
    assert report["versions"]["torch"] == torch.__version__
    assert not (here / "runs").exists()


def has_bfloat16():
    try:
        inference.check_precision("bfloat16")
    except GanforgeError:
        return False
    return True
