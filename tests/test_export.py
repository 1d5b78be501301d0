from __future__ import annotations

import copy
import hashlib
import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from ganforge import DataSpec, GanforgeError, Generator, PluginError
from ganforge.export import torchscript
from ganforge.export.torchscript import TOLERANCE, export_torchscript, script
from ganforge.images import grid, to_uint8
from ganforge.sampling import cycle_labels, generate

IMAGES = DataSpec((3, 8, 8))
CLASSES = DataSpec((3, 8, 8), ("cat", "dog", "eel"))
VECTORS = DataSpec((2,))


class Small(Generator):
    """One layer to vectors; the parent of those that are to fail."""

    def __init__(self, data: DataSpec = VECTORS) -> None:
        super().__init__()
        self.data = data
        self.z_dim = 4
        self.layer = nn.Linear(4, data.shape[0])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z)


class Multilayer(Generator):
    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.z_dim = 5
        self.layers = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, data.shape[0]))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z)


class Convolutional(Generator):
    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.data = data  # what forward does not read may be of any type
        self.z_dim = 6
        self.start = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8 * 4 * 4))
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, data.shape[0], 4, 2, 1)
        with torch.no_grad():
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.start(z).unflatten(1, (8, 4, 4))
        return self.up(self.norm(maps).relu()).tanh()


class Conditional(Convolutional):
    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.embed = nn.Embedding(data.num_classes, 6)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is not None:
            z = z + self.embed(labels)
        maps = self.start(z).unflatten(1, (8, 4, 4))
        return self.up(self.norm(maps).relu()).tanh()


class InsistsOnLabels(Conditional):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if labels is None:
            raise ValueError("labels are needed")
        return torch.tanh((z + self.embed(labels)).sum(1)[:, None, None, None].expand(-1, 3, 8, 8))


class Truncatable(Convolutional):
    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        self.register_buffer("mean", torch.randn(6))

    def forward(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        maps = self.start(torch.lerp(self.mean, z, truncation)).unflatten(1, (8, 4, 4))
        return self.up(self.norm(maps).relu()).tanh()


class Noisy(Convolutional):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.start(z).unflatten(1, (8, 4, 4))
        return self.up((maps + torch.randn_like(maps)).relu()).tanh()


KINDS = {
    "multilayer": (Multilayer, VECTORS),
    "convolutional": (Convolutional, IMAGES),
    "conditional": (Conditional, CLASSES),
    "truncatable": (Truncatable, IMAGES),
    "noisy": (Noisy, IMAGES),
}


def make(kind: str) -> Generator:
    torch.manual_seed(len(kind))
    network, data = KINDS[kind]
    return network(data).eval()


def card_of(data: DataSpec) -> dict:
    return {
        "generator": {"name": "small", "options": {}},
        "data": {"shape": list(data.shape), "class_names": list(data.class_names)},
        "images": 1234,
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Each kind's file and report."""
    folder = tmp_path_factory.mktemp("exported")
    return {
        kind: export_torchscript(make(kind), card_of(data), folder / f"{kind}.pt") for kind, (_, data) in KINDS.items()
    }


CONSUMER = """
import json, sys, warnings
sys.modules["ganforge"] = None
import torch
from safetensors.torch import save_file
warnings.simplefilter("ignore")
try:
    import ganforge
except ImportError:
    pass
else:
    raise SystemExit("ganforge is here")
folder, outputs = sys.argv[1], {}
for kind in sys.argv[2:]:
    texts = {"ganforge.json": "", "summary.txt": ""}
    network = torch.jit.load(f"{folder}/{kind}.pt", _extra_files=texts)
    about = json.loads(texts["ganforge.json"])
    print(texts["summary.txt"].decode().splitlines()[2])
    for n in (1, 7, 64):
        torch.manual_seed(n)
        z = torch.randn(n, about["inputs"]["z"]["shape"][1])
        arguments = [{}]
        if about["inputs"]["labels"]["num_classes"]:
            arguments.append({"labels": torch.arange(n) % about["inputs"]["labels"]["num_classes"]})
        if "truncation" in about["inputs"]:
            arguments.append({"truncation": 0.5})
        for i, each in enumerate(arguments):
            torch.manual_seed(100)
            outputs[f"{kind}.{n}.{i}"] = network(z, **each).clone()
save_file(outputs, f"{folder}/outputs.safetensors")
"""


def test_a_process_without_ganforge_computes_what_the_original_does(exported):
    folder = exported["noisy"].path.parent
    done = subprocess.run(
        [sys.executable, "-P", "-c", CONSUMER, folder, *KINDS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"z_dim: {make(kind).z_dim}" for kind in KINDS]
    outputs = load_file(folder / "outputs.safetensors")
    assert len(outputs) == 3 * (5 + 2)
    for key, output in outputs.items():
        kind, n, variant = key.split(".")
        torch.manual_seed(int(n))
        original = make(kind)
        torch.manual_seed(int(n))
        z = torch.randn(int(n), original.z_dim)
        options = {"conditional": {"labels": torch.arange(int(n)) % 3}, "truncatable": {"truncation": 0.5}}
        torch.manual_seed(100)
        with torch.no_grad():
            expected = original(z, **(options[kind] if variant == "1" else {}))
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
        if variant == "1":
            assert (output - outputs[f"{kind}.{n}.0"]).abs().max() > 1e-3, "labels and truncation must matter"


@pytest.mark.parametrize("kind", KINDS)
def test_the_report_says_what_was_compared(exported, kind):
    report = exported[kind]
    assert report.path.name == f"{kind}.pt"
    assert report.num_bytes == report.path.stat().st_size
    assert report.num_examples == (1 + 7 + 64) * (2 if kind in ("conditional", "truncatable") else 1)
    assert 0 <= report.worst_difference <= TOLERANCE


def test_the_file_tells_how_to_call_it_and_what_it_holds(exported):
    texts = {"ganforge.json": "", "summary.txt": ""}
    network = torch.jit.load(exported["conditional"].path, _extra_files=texts)
    about = json.loads(texts["ganforge.json"])
    assert texts["ganforge.json"].decode() == json.dumps(about, sort_keys=True)
    assert about["card"] == card_of(CLASSES)
    assert about["inputs"]["z"]["shape"] == ["N", 6]
    assert about["inputs"]["labels"]["dtype"] == "int64"
    assert "truncation" not in about["inputs"]
    assert about["output"]["shape"] == ["N", 3, 8, 8]
    assert about["output"]["range"] == [-1, 1]
    assert about["versions"]["torch"] == torch.__version__
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
    assert about["digest"] == digest.hexdigest()
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.training

    torch.jit.load(exported["truncatable"].path, _extra_files=texts)
    assert json.loads(texts["ganforge.json"])["inputs"]["truncation"]["default"] == 1.0
    torch.jit.load(exported["multilayer"].path, _extra_files=texts)
    assert "range" not in json.loads(texts["ganforge.json"])["output"]


def test_equal_weights_give_equal_bytes_under_any_name(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(torchscript, "_worst_difference", lambda content, cases, expected: 0.0)
    export_torchscript(make("convolutional"), card_of(IMAGES), tmp_path / "other.pt")
    assert (tmp_path / "other.pt").read_bytes() == exported["convolutional"].path.read_bytes()


def test_the_original_and_the_random_state_are_left_alone(tmp_path):
    original = InsistsOnLabels(CLASSES).double().train()
    before, random = copy.deepcopy(original.state_dict()), torch.get_rng_state()
    report = export_torchscript(original, card_of(CLASSES), tmp_path / "new" / "model.pt")
    assert report.num_examples == 72, "calls without labels are no part of a network that insists on them"
    assert torch.equal(torch.get_rng_state(), random)
    assert original.training
    assert all(weight.requires_grad and weight.dtype == torch.float64 for weight in original.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in original.state_dict().items())


class OffWhenScripted(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if torch.jit.is_scripting() and z.shape[0] == 64:
            return self.layer(z) + 2e-5
        return self.layer(z)


class RaisesWhenScripted(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if torch.jit.is_scripting():
            raise ValueError("not in the mood")
        return self.layer(z)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (OffWhenScripted, r"differs from the original by 2e-05 for a batch of 64"),
        (RaisesWhenScripted, "not in the mood"),
    ],
)
def test_a_network_that_is_another_once_compiled_is_refused_and_nothing_is_left(
    network, message, tmp_path, monkeypatch
):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    with pytest.raises(GanforgeError, match=message):
        export_torchscript(network(), card_of(VECTORS), tmp_path / "new" / "model.pt")
    assert [path.name for path in tmp_path.rglob("*")] == ["scratch"]


@pytest.mark.parametrize("spoil", [lambda output: output * torch.nan, lambda output: output[:-1]])
def test_an_output_that_is_not_finite_or_of_another_shape_is_refused(spoil, tmp_path, monkeypatch):
    original = Small()
    monkeypatch.setattr(
        torchscript, "_run", lambda content, cases: [spoil(original(case["z"]).detach()) for case in cases]
    )
    with pytest.raises(GanforgeError, match=r"differs from the original by (nan|inf)"):
        export_torchscript(original, card_of(VECTORS), tmp_path / "model.pt")


def test_an_older_file_survives_a_failed_export(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"older")
    with pytest.raises(GanforgeError):
        export_torchscript(TakesKeywords(), card_of(VECTORS), path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_diverged_network_is_refused(tmp_path):
    original = Small()
    with torch.no_grad():
        original.layer.bias.fill_(torch.inf)
    with pytest.raises(GanforgeError, match="not finite"):
        export_torchscript(original, card_of(VECTORS), tmp_path / "model.pt")


def test_a_network_of_another_shape_than_its_data_is_refused(tmp_path):
    with pytest.raises(PluginError, match=r"gives \[1, 2\] where its data ask for \[1, 3\]"):
        export_torchscript(Small(), card_of(DataSpec((3,))), tmp_path / "model.pt")


class TakesKeywords(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None, **options) -> Tensor:  # HERE
        return self.layer(z)


class TakesKeywordOnly(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None, *, truncation: float = 1.0) -> Tensor:  # HERE
        return self.layer(z)


class IndexesModules(Small):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 2)])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        for index in range(2):
            z = self.blocks[index](z)  # HERE
        return z


class ReadsDataSpec(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.reshape(self.layer(z))

    def reshape(self, flat: Tensor) -> Tensor:
        return flat.view(-1, self.data.shape[0])  # HERE


class KeepsLambda(Small):
    def __init__(self) -> None:
        super().__init__()
        self.activation = lambda x: x * 2

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.activation(self.layer(z))  # HERE


class QuotesAnnotation(Small):
    def forward(self, z: Tensor, labels: "Tensor | None" = None) -> Tensor:  # noqa: UP037 HERE
        return self.layer(z)


class AnnotatesBody(Small):  # HERE
    layer: nn.Linear


class UsesOptional(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z if labels is None else z + 0) + self.offset(labels)

    def offset(self, labels: Tensor | None) -> Tensor:
        return torch.zeros(1) if labels is None else self.double(labels)

    def double(self, labels: Tensor | None) -> Tensor:
        return labels * 2  # HERE


class Checkpoints(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.utils.checkpoint.checkpoint(self.layer, z, use_reentrant=False)


class TriesThings(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        try:  # HERE
            return self.layer(z)
        except ValueError:
            return z


@pytest.mark.parametrize(
    ("network", "rule"),
    [
        (TakesKeywords, r"\*\*kwargs"),
        (TakesKeywordOnly, "keyword-only argument with a default"),
        (IndexesModules, "iterate over a ModuleList"),
        (ReadsDataSpec, "set them in __init__"),
        (KeepsLambda, "no lambda"),
        (QuotesAnnotation, "without quotes"),
        (AnnotatesBody, "where __init__ sets them"),
        (UsesOptional, "if labels is not None"),
        (Checkpoints, "activation checkpointing"),
        (TriesThings, "docs/guide/export.md"),
    ],
)
def test_what_cannot_be_compiled_is_told_in_one_line_with_place_and_rule(network, rule, tmp_path):
    with pytest.raises(GanforgeError, match="cannot be compiled by TorchScript") as caught:
        export_torchscript(network(), card_of(VECTORS), tmp_path / "model.pt")
    assert "\n" not in caught.value.message
    assert network.__name__ in caught.value.message
    caught.match(rule)
    lines, first = inspect.getsourcelines(network)
    if marked := [first + index for index, line in enumerate(lines) if "HERE" in line]:
        assert f"{__file__}:{marked[0]}" in caught.value.message
    assert not any(tmp_path.iterdir())


def test_a_class_without_a_source_file_is_told_so():
    space = {"Small": Small, "Tensor": Tensor}
    exec("class Typed(Small):\n    def forward(self, z: Tensor, labels=None):\n        return self.layer(z)", space)
    with pytest.raises(GanforgeError, match=r"define the class in a \.py file"):
        script(space["Typed"]().eval())


def test_only_the_deprecation_of_torchscript_is_silenced():
    network = Small().eval()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        script(network)
    assert [str(each.message) for each in caught] == []
    network.__constants__ = ["layer"]
    with pytest.warns(UserWarning, match="ScriptModule constants"):
        script(network)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The C++ program, built against the libtorch inside the installed torch."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not shutil.which("cmake") or not compiler:
        pytest.skip("needs cmake and a C++ compiler")
    build = tmp_path_factory.mktemp("build")
    source = Path(__file__).parent.parent / "docs" / "cpp"
    root = Path(torch.__file__).parent
    for command in (
        ["cmake", "-S", source, "-B", build, f"-DTORCH_ROOT={root}", f"-DCMAKE_CXX_COMPILER={compiler}"],
        ["cmake", "--build", build],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "ganforge_sample"


def call(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "arguments", "labels", "options"),
    [
        ("convolutional", [], None, {}),
        ("conditional", [], cycle_labels(7, 3), {}),
        ("conditional", ["--class", 2], torch.full((7,), 2), {}),
        ("truncatable", ["--truncation", 0.5], None, {"truncation": 0.5}),
    ],
)
def test_the_cpp_program_draws_the_pixels_that_python_draws(
    program, exported, tmp_path, kind, arguments, labels, options
):
    out = tmp_path / "grid.ppm"
    done = call(program, exported[kind].path, "--count", 7, "--seed", 3, "--out", out, *arguments)
    assert done.returncode == 0, done.stderr
    assert "generator: small" in done.stdout
    drawn = numpy.asarray(Image.open(io.BytesIO(out.read_bytes()))).astype(int)
    expected = grid(to_uint8(generate(make(kind), 7, seed=3, labels=labels, **options))).permute(1, 2, 0).numpy()
    assert drawn.shape == expected.shape
    assert abs(drawn - expected).max() <= 1
    assert drawn.std() > 10


@pytest.mark.slow
def test_the_cpp_program_tells_every_mistake_in_one_line(program, exported, tmp_path):
    good = exported["conditional"].path
    whole = good.read_bytes()
    files = {"empty.pt": b"", "text.pt": b"hello " * 100, "short.pt": whole[: len(whole) // 2], "end.pt": whole[:-1]}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    foreign = tmp_path / "foreign.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), foreign)
    mistakes = {
        "usage": [],
        "no such file": [tmp_path / "none.pt"],
        "was not exported by ganforge": [foreign],
        "vectors, not images": [exported["multilayer"].path],
        "must be below 3": [good, "--class", 3],
        "knows no classes": [exported["convolutional"].path, "--class", 0],
        "cannot be truncated": [good, "--truncation", 0.5],
        "--truncation is 'nan'": [exported["truncatable"].path, "--truncation", "nan"],
        "--count is '0'": [good, "--count", 0],
        "--count is '3x'": [good, "--count", "3x"],
        "--seed is '-1'": [good, "--seed", -1],
        "--seed needs a value": [good, "--seed"],
        "no such option: --sede": [good, "--sede", 1],
        "cannot be written": [good, "--out", tmp_path / "none" / "grid.ppm"],
    } | {f"{tmp_path / name}: is no TorchScript file": [tmp_path / name] for name in files}
    for message, arguments in mistakes.items():
        done = call(program, *arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert message in done.stderr
