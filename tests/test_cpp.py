"""The C++ programs that read exported files: built as a stranger builds them, and run under sanitizers."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from marks import GENERATED, png_chunks, read_mark
from PIL import Image
from torch import Tensor, nn

from ganforge import DataSpec, ExportReport, GanforgeError, Generator, Number, OptionError
from ganforge.core.images import grid, to_uint8
from ganforge.export import torchscript
from ganforge.export.project import CppProjectExporter
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import describe_spec, digest_tensors
from ganforge.sampling import cycle_labels, default_labels, draw_latents, generate
from ganforge.version import __version__

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent.parent / "ganforge" / "export" / "cpp"

ONNXRUNTIME_ROOT = os.environ.get("ONNXRUNTIME_ROOT", "")
"""Folder with include/ and lib/ of ONNX Runtime; the programs for it are left out where it is not set."""

NAMES = ("cat", "dog", "eel")

IMAGES, CLASSES = DataSpec((3, 16, 16)), DataSpec((3, 16, 16), NAMES)
NUMBERS = (Number("smile", 0.5, 0.5, (0.0, 1.0, 1.0)), Number("age", 40.5, 10.0, (20.0, 60.0, 30.0)))
CONDITIONS = DataSpec((3, 16, 16), numbers=NUMBERS)

KINDS = {
    "dcgan": ("dcgan", IMAGES, {"width": 4}),
    "conditional": ("dcgan", CLASSES, {"width": 4, "conditioning": "input"}),
    "vector": ("dcgan", CONDITIONS, {"width": 4, "conditioning": "input"}),
    "stylegan": ("stylegan", IMAGES, {"width": 4}),
    "six": ("dcgan", DataSpec((6, 16, 16)), {"width": 4}),
    "grey": ("dcgan", DataSpec((1, 16, 24)), {"width": 4}),
    "vectors": ("mlp", DataSpec((2,)), {"hidden": (4,)}),
}


@pytest.fixture(scope="session")
def networks() -> dict[str, Generator]:
    """Tiny generators whose images are as varied as those of trained ones."""
    made = {}
    for kind, (name, data, options) in KINDS.items():
        torch.manual_seed(len(kind))
        network = Registry.installed().part("generator", name).factory(data, **options).eval().requires_grad_(False)
        for parameter, weight in network.named_parameters():
            if parameter.endswith("strength"):
                weight.normal_()
        if kind != "stylegan":
            layers = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
            *_, last = (each for each in network.modules() if isinstance(each, layers))
            last.weight.mul_(0.7 / generate(network, 16, labels=default_labels(16, data)).std())
        made[kind] = network
    return made


@pytest.fixture(scope="session")
def files(networks, tmp_path_factory) -> dict[str, Path]:
    """Their files, which other tests prove."""
    folder = tmp_path_factory.mktemp("files")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
        for kind, (name, data, options) in KINDS.items():
            card = {
                "generator": {"name": name, "options": options},
                "data": describe_spec(data),
                "digest": digest_tensors(networks[kind].state_dict()),
            }
            TorchScriptExporter().export(networks[kind], card, folder / f"{kind}.pt")
    return {kind: folder / f"{kind}.pt" for kind in KINDS}


def build(source, folder, *options) -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not shutil.which("cmake") or not compiler:
        pytest.skip("needs cmake and a C++ compiler")
    root = Path(torch.__file__).parent
    for command in (
        ["cmake", "-S", source, "-B", folder, f"-DTORCH_ROOT={root}", f"-DCMAKE_CXX_COMPILER={compiler}", *options],
        ["cmake", "--build", folder, "--parallel", "2"],
    ):
        done = subprocess.run([str(each) for each in command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def programs(networks, tmp_path_factory) -> Path:
    """The folder of all programs: every warning is an error, and memory and undefined behavior are watched."""
    folder = tmp_path_factory.mktemp("build")
    write_project(networks, folder / "project")
    options = [
        f"-DPROJECT={folder / 'project'}",
        "-DGANFORGE_WERROR=ON",
        "-DGANFORGE_SANITIZE=ON",
        "-DCMAKE_BUILD_TYPE=Debug",
    ]
    options += ["-DCMAKE_CXX_FLAGS_DEBUG=-O0", f"-DONNXRUNTIME_ROOT={ONNXRUNTIME_ROOT}"]
    build(Path(__file__).parent / "cpp", folder, *options)
    # Two leaks are libtorch's own: when its CUDA part is loaded, as the code of a .pt2 file does, and of a zip archive
    # that is no model. Nothing else may leak.
    (folder / "programs" / "leaks.txt").write_text("leak:libtorch_cuda.so\nleak:mz_zip_reader_init\n")
    return folder / "programs"


def call(programs, name, *arguments):
    """Run a program. The sanitizers end it with exit code 99 and pages of text if they find anything, leaks too."""
    watch = {
        "ASAN_OPTIONS": "exitcode=99:detect_stack_use_after_return=1",
        "LSAN_OPTIONS": f"exitcode=99:print_suppressions=0:suppressions={programs / 'leaks.txt'}",
        "UBSAN_OPTIONS": "exitcode=99:print_stacktrace=1",
    }
    command = [str(programs / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **watch})


def succeed(programs, name, *arguments) -> str:
    done = call(programs, name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fail(programs, name, *arguments) -> str:
    """The error of a program that ends as it should on a mistake: exit code 2, one line."""
    done = call(programs, name, *arguments)
    assert done.returncode == 2, (arguments, done.stdout, done.stderr)
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("\n")
    assert done.stderr.count("\n") == 1
    return done.stderr


def read(path) -> Tensor:
    """A picture ``[C, H, W]``."""
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture))
    return pixels.permute(2, 0, 1) if pixels.dim() == 3 else pixels[None]


@pytest.mark.parametrize(
    ("kind", "arguments", "labels", "options"),
    [
        ("dcgan", [], None, {}),
        ("grey", [], None, {}),
        ("six", [], None, {}),
        ("conditional", [], cycle_labels(70, 3), {}),
        ("conditional", ["--class", 2], torch.full((70,), 2), {}),
        ("conditional", ["--class", "dog"], torch.full((70,), 1), {}),
        ("vector", [], default_labels(70, CONDITIONS), {}),
        ("vector", ["--condition", "smile=1"], torch.tensor([[1.0, 40.5]] * 70), {}),
        ("vector", ["--condition", "1=20,smile=0"], torch.tensor([[0.0, 20.0]] * 70), {}),
        ("stylegan", ["--truncation", 0.5], None, {"truncation": 0.5}),
    ],
)
def test_pixels_are_those_that_python_draws(programs, networks, files, tmp_path, kind, arguments, labels, options):
    out = tmp_path / "grid.png"
    printed = succeed(programs, "ganforge_sample", files[kind], "--count", 70, "--seed", 3, "--grid", out, *arguments)
    assert f"generator: {KINDS[kind][0]}\n" in printed
    assert printed.endswith(f"wrote {out}\n")
    drawn = read(out).int()
    expected = grid(to_uint8(generate(networks[kind], 70, seed=3, labels=labels, **options)))
    expected = expected[[0, 3, 5]] if kind == "six" else expected
    assert drawn.shape == expected.shape
    assert (drawn - expected.int()).abs().max() <= 1
    assert drawn.float().std() > 10
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


@pytest.mark.parametrize(
    ("kind", "label", "truncation"),
    [("dcgan", "-", "-"), ("conditional", "-", "-"), ("conditional", 2, 1), ("stylegan", "-", 0.4)],
)
def test_floats_are_those_that_python_computes(programs, networks, files, tmp_path, kind, label, truncation):
    succeed(programs, "ganforge_check", "draw", files[kind], tmp_path / "floats", label, truncation)
    floats = torch.from_numpy(np.fromfile(tmp_path / "floats", dtype=np.float32))
    network, labels = networks[kind], None
    if kind == "conditional":
        labels = cycle_labels(7, 3) if label == "-" else torch.full((7,), label)
    options = {"truncation": truncation} if kind == "stylegan" else {}
    images = generate(network, 7, seed=3, labels=labels, **options)
    expected = [images, images]
    if kind == "stylegan":
        styles = network.mapping(draw_latents(7, network.z_dim, 3), None, truncation, 2)
        expected.append(network.synthesis(styles, "none"))
    torch.testing.assert_close(floats, torch.cat(expected).flatten(), rtol=0, atol=1e-5)
    assert floats.std() > 0.1


@pytest.mark.parametrize(("z_dim", "seed"), [(1, 0), (7, 12345), (15, 2**32 + 5), (16, 1), (31, 2**31 - 1), (512, 9)])
def test_latents_are_those_of_torch(programs, tmp_path, z_dim, seed):
    succeed(programs, "ganforge_check", "latents", tmp_path / "floats", z_dim, seed, 20)
    floats = torch.from_numpy(np.fromfile(tmp_path / "floats", dtype=np.float32)).view(20, z_dim)
    torch.testing.assert_close(floats, draw_latents(20, z_dim, seed), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "count"), [("dcgan", 1), ("dcgan", 100), ("grey", 5)])
def test_a_png_holds_the_pixels_of_a_ppm(programs, files, tmp_path, kind, count):
    names = [tmp_path / "grid.png", tmp_path / "grid.ppm"]
    for name in names:
        name.write_bytes(b"older")
        succeed(programs, "ganforge_sample", files[kind], "--count", count, "--grid", name)
    png, ppm = map(read, names)
    assert len(png) == (1 if kind == "grey" else 3)
    assert torch.equal(png.expand(3, -1, -1), ppm)
    assert (png.numel() > 65535) == (count == 100), "pixels of one block, and of two"


def test_a_png_is_marked_as_generated_unless_forbidden(programs, networks, files, tmp_path):
    def draw(*options):
        succeed(programs, "ganforge_sample", files["dcgan"], "--grid", tmp_path / "a.png", *options)
        return (tmp_path / "a.png").read_bytes()

    marked = draw("--count", 3, "--seed", 7)
    assert read_mark(marked) == {
        "tool": f"ganforge {__version__}",
        "source": GENERATED,
        "system": "ganforge dcgan",
        "version": f"sha256:{digest_tensors(networks['dcgan'].state_dict())}",
        "prompt": "seeds 7-9",
    }
    if shutil.which("exiftool"):
        told = subprocess.run(["exiftool", "-s3", "-DigitalSourceType#", tmp_path / "a.png"], capture_output=True)
        assert told.stdout.decode().strip() == GENERATED
    plain = draw("--no-marking", "--count", 3, "--seed", 7)
    assert png_chunks(plain) == [each for each in png_chunks(marked) if each[0] != b"iTXt"]
    assert read_mark(draw("--count", 1, "--seed", 2))["prompt"] == "seed 2"


def test_mistakes_with_tensors_are_told(programs, files):
    lines = {
        kind: dict(
            line.split(": ", 1) for line in succeed(programs, "ganforge_check", "mistakes", files[kind]).splitlines()
        )
        for kind in ("conditional", "stylegan")
    }
    both = {
        "count 0": "count is 0, but must be from 1 to 4096",
        "count 4097": "count is 4097, but must be from 1 to 4096",
        "seed -1": "seed is -1, but must be from 0 to 9223372036854771711",
        "truncation 2": "truncation is 2, but must be from 0 to 1",
        "z undefined": "z is undefined, but must be Float [N, ",
        "z double": "z is Double [2, ",
        "z narrow": "z is Float [2, 3] on cpu, but must be Float [N, ",
        "z of no latent": "z is Float [0, ",
        "z of one dimension": "z is Float [",
        "z elsewhere": "on meta, but must be",
        "labels of int32": "labels is Int [2] on cpu, but must be Long [2] on cpu",
        "labels too few": "labels is Long [1] on cpu, but must be Long [2] on cpu",
        "line unknown": "its summary has no line 'nonsense'",
        "line no number": "invalid line in its summary: 'generator: ",
    }
    of_kind = {
        "conditional": {
            "class 3": "class is 3, but must be from 0 to 2",
            "class -1": "class is -1, but must be from 0 to 2",
            "truncation 0.5": "does not support truncation",
            "labels too high": "class is 3, but must be from 0 to 2",
            "labels negative": "class is -1, but must be from 0 to 2",
            "styles of two dimensions": "has no method mapping or synthesis",
        },
        "stylegan": {
            "class 3": "has no classes",
            "truncation 0.5": "no error",
            "cutoff 99": "cutoff is 99, but must be from -1 to 6",
            "styles of two dimensions": "styles is Float [2, 256] on cpu, but must be Float [N, 6, 256] on cpu",
            "styles of a layer too few": "styles is Float [2, 1, 256]",
            "noise loud": "noise is 'loud', but must be random, fixed, none, only-coarse or only-fine",
        },
    }
    for kind, messages in of_kind.items():
        for mistake, message in (both | messages).items():
            assert message in lines[kind][mistake], (kind, mistake)


def spoiled(good: Path, folder: Path) -> dict[str, Path]:
    """Files that are none, by what they are."""
    whole = good.read_bytes()
    contents = {
        "empty": b"",
        "random": np.random.default_rng(0).bytes(5000),
        "half": whole[: len(whole) // 2],
        "shorter": whole[:-1],
        "without its beginning": whole[100:],
    }
    paths = {name: folder / f"{name}{good.suffix}" for name in [*contents, "zip", "folder", "none"]}
    for name, content in contents.items():
        paths[name].write_bytes(content)
    with zipfile.ZipFile(paths["zip"], "w") as archive:
        archive.writestr("something/else.txt", "hello")
    paths["folder"].mkdir()
    return paths


@pytest.mark.exhaustive
def test_a_file_that_is_none_is_told_and_nothing_is_written(programs, files, tmp_path):
    inputs, outputs = tmp_path / "inputs", tmp_path / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    foreign = inputs / "foreign.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), foreign)
    assert "foreign.pt: not exported by ganforge" in fail(programs, "ganforge_sample", foreign)
    for name, path in spoiled(files["dcgan"], inputs).items():
        reason = "file not found" if name in ("folder", "none") else "not a TorchScript file, or a damaged one"
        assert reason in fail(programs, "ganforge_sample", path, "--grid", outputs / "grid.png")
    assert "file not found" in fail(programs, "ganforge_time", inputs / "none.pt")
    for name in ("random", "half", "zip"):
        renamed = (inputs / f"{name}.pt").rename(inputs / f"{name}.pt2")
        assert "not an AOTInductor package" in fail(
            programs, "ganforge_sample", renamed, "--grid", outputs / "grid.png"
        )
    assert "requires ONNX Runtime" in fail(programs, "ganforge_sample", renamed.rename(inputs / "model.onnx"))
    assert not any(outputs.iterdir())


@pytest.mark.exhaustive
def test_a_mistake_is_told_in_one_line_and_nothing_is_written(programs, files, tmp_path):
    good = files["conditional"]
    mistakes = {
        "usage: ganforge_sample": [],
        "vectors, not images": [files["vectors"]],
        "--class is '3', but must be a number from 0 to 2, or one of: cat, dog, eel": [good, "--class", 3],
        "--class is '-1', but must be": [good, "--class", -1],
        "--class is 'cow', but must be": [good, "--class", "cow"],
        "--class is 'cat, dog', but must be": [good, "--class", "cat, dog"],
        "has no classes": [files["dcgan"], "--class", 0],
        "does not support truncation": [good, "--truncation", 0.5],
        "--truncation is '2', but must be a number from 0 to 1": [files["stylegan"], "--truncation", 2],
        "--truncation is 'nan'": [files["stylegan"], "--truncation", "nan"],
        "--count is '0', but must be a number from 1 to 4096": [good, "--count", 0],
        "--count is '5000'": [good, "--count", 5000],
        "--count is '3x'": [good, "--count", "3x"],
        "--count is '99999999999999999999'": [good, "--count", "9" * 20],
        "--seed is '-1'": [good, "--seed", -1],
        "--seed requires a value": [good, "--seed"],
        "unknown option --sede": [good, "--sede", 1],
        "give one model": [good, good],
        "must end in .png or .ppm": [good, "--grid", tmp_path / "grid.jpg"],
        "grid.ppm: cannot be written": [good, "--grid", tmp_path / "none" / "grid.ppm"],
        "file not found": [tmp_path / "two\nlines.pt"],
    }
    for message, arguments in mistakes.items():
        assert message in fail(programs, "ganforge_sample", *arguments)
    (tmp_path / "folder.png").mkdir()
    assert "cannot be written" in fail(programs, "ganforge_sample", good, "--grid", tmp_path / "folder.png")
    assert "--batch is '0'" in fail(programs, "ganforge_time", good, "--batch", 0)
    assert "--threads is 'two'" in fail(programs, "ganforge_time", good, "--threads", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def write_project(networks, path, kind="conditional") -> ExportReport:
    name, data, options = KINDS[kind]
    card = {
        "generator": {"name": name, "options": options},
        "data": {"shape": list(data.shape), "class_names": list(data.class_names)},
    }
    return CppProjectExporter().export(networks[kind], card, path)


@pytest.mark.exhaustive
def test_a_project_is_built_as_its_readme_says_and_draws(networks, tmp_path, monkeypatch):
    project = tmp_path / "generator-cpp"
    report = write_project(networks, project)
    assert (report.path, report.num_examples) == (project, 230)
    assert report.worst_difference <= torchscript.TOLERANCE
    assert report.num_bytes == sum(path.stat().st_size for path in project.iterdir() if path.name != "SHA256SUMS")
    assert {path.name for path in project.iterdir()} == {path.name for path in SOURCE.iterdir()} | {
        "generator.pt",
        "SHA256SUMS",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["generator-cpp"]
    text = (project / "README.md").read_text()
    command = "build/ganforge_sample generator.pt --count 25 --seed 7 --grid grid.png"
    assert "cmake -S . -B build -DTORCH_ROOT=" in text
    assert command in text
    build(project, project / "build")
    done = subprocess.run(command.split(), cwd=project, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    expected = grid(to_uint8(generate(networks["conditional"], 25, seed=7, labels=cycle_labels(25, 3))))
    assert (read(project / "grid.png").int() - expected.int()).abs().max() <= 1


@pytest.fixture
def unproved(monkeypatch):
    """No process for the proof of a TorchScript file."""
    monkeypatch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)


def test_a_project_is_replaced_and_what_is_not_its_own_stays(networks, tmp_path, unproved):
    project = tmp_path / "new" / "generator-cpp"
    write_project(networks, project)
    (project / "main.cpp").write_text("int main() {}")
    (project / "README.md").unlink()
    before = (project / "generator.pt").read_bytes()
    write_project(networks, project, "dcgan")
    assert (project / "main.cpp").read_text() == "int main() {}"
    assert (project / "README.md").read_bytes() == (SOURCE / "README.md").read_bytes()
    assert (project / "generator.pt").read_bytes() != before
    sums = dict(reversed(line.split("  ")) for line in (project / "SHA256SUMS").read_text().splitlines())
    assert sums.keys() == {path.name for path in project.iterdir()} - {"main.cpp", "SHA256SUMS"}
    for name, digest in sums.items():
        assert hashlib.sha256((project / name).read_bytes()).hexdigest() == digest
    assert [path.name for path in project.parent.iterdir()] == ["generator-cpp"]
    (project / "CMakeLists.txt").write_text("# my own\n")
    with pytest.raises(OptionError, match=r"CMakeLists.txt was modified after its export"):
        write_project(networks, project)
    assert (project / "CMakeLists.txt").read_text() == "# my own\n"


def test_what_is_no_project_is_left_alone(networks, tmp_path, unproved, monkeypatch):
    (tmp_path / "empty").mkdir()
    write_project(networks, tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "generator.pt").write_text("mine")
    (tmp_path / "listed").mkdir()
    (tmp_path / "listed" / "SHA256SUMS").write_text("0" * 64 + "  ../generator.pt\n" + "0" * 64 + "  generator.pt\n")
    for name in ("file", "folder", "listed"):
        with pytest.raises(OptionError, match="already exists, and is not an earlier export of this kind"):
            write_project(networks, tmp_path / name)
    assert [path.read_text() for path in (tmp_path / "file", tmp_path / "folder" / "generator.pt")] == ["mine", "mine"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "folder", "listed"]

    def refuse(*arguments):
        raise GanforgeError("it differs")

    monkeypatch.setattr(torchscript, "worst_difference", refuse)
    before = (tmp_path / "empty" / "generator.pt").read_bytes()
    with pytest.raises(GanforgeError, match="it differs"):
        write_project(networks, tmp_path / "empty", "dcgan")
    with pytest.raises(GanforgeError, match="it differs"):
        write_project(networks, tmp_path / "other")
    assert (tmp_path / "empty" / "generator.pt").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "folder", "listed"]


def check_times(line: str, batch: int) -> None:
    assert line.count("\n") == 1
    times = json.loads(line)
    assert times.keys() == {"calls", "seconds", "batch"}
    assert (times["batch"], len(times["seconds"])) == (batch, 3)
    assert times["calls"] >= 3
    assert 0 < times["seconds"][0] <= times["seconds"][1] <= times["seconds"][2]


def test_calls_are_timed(programs, files):
    options = ["--batch", 2, "--seconds", 0.01, "--threads", 1]
    check_times(succeed(programs, "ganforge_time", files["conditional"], *options), 2)


SUMMARY = """generator: closed form
output: 3x4x4 images
z_dim: 20
num_classes: 3
class_names: cat, dog, eel
truncation: yes
inputs: z labels truncation cutoff noise fixed_noise
noise_size: 5
fixed_noise: 1 0.5
"""


class ClosedForm(nn.Module):
    """A model with tensor arguments alone, each of which changes the output."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randn(20, 48) * 0.2)
        self.register_buffer("shifts", torch.randn(3, 48) * 0.5)

    def forward(
        self, z: Tensor, labels: Tensor, truncation: Tensor, cutoff: Tensor, noise: Tensor, fixed_noise: Tensor
    ) -> Tensor:
        of_scalars = fixed_noise.sum() * 0.1 + cutoff * 0.05
        images = truncation * (z @ self.weight) + self.shifts[labels] + noise.sum(1, keepdim=True) + of_scalars
        return images.tanh().view(-1, 3, 4, 4)

    def draw(self, count: int, seed: int, labels: Tensor, truncation: float) -> Tensor:
        """Pixels of seeds, with fixed noise."""
        inputs = torch.tensor(truncation), torch.tensor(-1), torch.zeros(count, 5), torch.tensor([1, 0.5])
        return grid(to_uint8(self(draw_latents(count, 20, seed), labels, *inputs)))


def check_drawing(programs, name, model, folder) -> None:
    """A file with the inputs of `ClosedForm` gives its pixels, with and without options."""
    out = folder / "grid.png"
    succeed(programs, f"ganforge_sample{name}", model, "--count", 70, "--seed", 5, "--grid", out)
    expected = ClosedForm().draw(70, 5, cycle_labels(70, 3), 1.0)
    assert (read(out).int() - expected.int()).abs().max() <= 1
    options = ["--truncation", 0.5, "--class", "dog"]
    succeed(programs, f"ganforge_sample{name}", model, "--count", 1, "--grid", out, *options)
    expected = ClosedForm().draw(1, 0, torch.tensor([1]), 0.5)
    assert (read(out).int() - expected.int()).abs().max() <= 1
    assert "--class is 'cow'" in fail(programs, f"ganforge_sample{name}", model, "--class", "cow")
    check_times(succeed(programs, f"ganforge_time{name}", model, "--seconds", 0.01, "--batch", 3), 3)


_PACKAGE = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from test_cpp import SUMMARY, ClosedForm
batch = torch.export.Dim("N", min=1)
inputs = (torch.randn(3, 20), torch.arange(3), torch.tensor(0.7), torch.tensor(-1), torch.zeros(3, 5), torch.ones(2))
shapes = ({0: batch}, {0: batch}, {}, {}, {0: batch}, {})
options = {
    "aot_inductor.metadata": {"summary.txt": SUMMARY, "ganforge.json": "{}"},
    "aot_inductor.check_lowerbound": False,  # it would refuse a batch of 1
}
program = torch.export.export(ClosedForm(), inputs, dynamic_shapes=shapes)
torch._inductor.aoti_compile_and_package(program, package_path=sys.argv[2], inductor_configs=options)
"""


@pytest.mark.exhaustive
def test_a_package_of_aotinductor_is_drawn_from(programs, tmp_path):
    """It is made by a process of its own, since inductor leaves threads and warnings behind."""
    model = tmp_path / "model.pt2"
    command = [sys.executable, "-W", "ignore", "-c", _PACKAGE, str(Path(__file__).parent), str(model)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_drawing(programs, "", model, tmp_path)
    lines = dict(line.split(": ", 1) for line in succeed(programs, "ganforge_check", "mistakes", model).splitlines())
    assert "labels is Long [1]" in lines["labels too few"]
    assert "only .pt files of style-based generators do" in lines["noise loud"]


@pytest.fixture(scope="session")
def onnx_model(tmp_path_factory) -> Path:
    """`ClosedForm` as ONNX, put together by hand."""
    if not ONNXRUNTIME_ROOT or not importlib.util.find_spec("onnx"):
        pytest.skip("needs the package onnx, and ONNXRUNTIME_ROOT with include/ and lib/ of ONNX Runtime")
    from onnx import TensorProto, helper, numpy_helper, save

    form = ClosedForm()
    kinds = {"labels": TensorProto.INT64, "cutoff": TensorProto.INT64}
    shapes = {"z": ["N", 20], "labels": ["N"], "truncation": [], "cutoff": [], "noise": ["N", 5], "fixed_noise": [2]}
    constants = {
        "weight": form.weight.numpy(),
        "shifts": form.shifts.numpy(),
        "tenth": np.float32(0.1),
        "twentieth": np.float32(0.05),
        "first": np.array([1]),
        "shape": np.array([-1, 3, 4, 4]),
    }
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["plain"]),
        helper.make_node("Mul", ["plain", "truncation"], ["truncated"]),
        helper.make_node("Gather", ["shifts", "labels"], ["shift"]),
        helper.make_node("ReduceSum", ["noise", "first"], ["drawn"]),
        helper.make_node("ReduceSum", ["fixed_noise"], ["fixed"], keepdims=0),
        helper.make_node("Mul", ["fixed", "tenth"], ["share"]),
        helper.make_node("Cast", ["cutoff"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "twentieth"], ["cut"]),
        helper.make_node("Sum", ["truncated", "shift", "drawn", "share", "cut"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "shape"], ["images"]),
    ]
    graph = helper.make_graph(
        nodes,
        "closed form",
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shapes[name]) for name in shapes],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, 4, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    folder = tmp_path_factory.mktemp("onnx")
    save(model, folder / "bare.onnx")
    helper.set_model_props(model, {"summary.txt": SUMMARY, "ganforge.json": "{}"})
    save(model, folder / "model.onnx")
    helper.set_model_props(model, {"summary.txt": SUMMARY.replace("z labels", "labels z"), "ganforge.json": "{}"})
    save(model, folder / "turned.onnx")
    return folder / "model.onnx"


def test_a_file_for_onnx_runtime_is_drawn_from(programs, onnx_model, tmp_path):
    check_drawing(programs, "_onnx", onnx_model, tmp_path)


def test_a_file_that_onnx_runtime_cannot_read_is_told(programs, onnx_model, tmp_path):
    for name, path in spoiled(onnx_model, tmp_path).items():
        error = fail(programs, "ganforge_sample_onnx", path, "--grid", tmp_path / "grid.png")
        assert str(path) in error
        assert ("file not found" in error) == (name in ("folder", "none"))
    assert "not exported by ganforge" in fail(programs, "ganforge_sample_onnx", onnx_model.with_name("bare.onnx"))
    assert "its inputs do not match" in fail(programs, "ganforge_sample_onnx", onnx_model.with_name("turned.onnx"))
    assert not (tmp_path / "grid.png").exists()
