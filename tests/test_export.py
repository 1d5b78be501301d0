from __future__ import annotations

import copy
import hashlib
import inspect
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ganforge import DataSpec, GanforgeError, Generator, OptionError, PluginError
from ganforge.cli import main
from ganforge.core.images import to_uint8
from ganforge.export import torchscript, verification
from ganforge.export.folding import PhaseShuffle, PixelToKernel, fold, fold_and_replace, replace_layers
from ganforge.export.scripting import script
from ganforge.export.torchscript import (
    TOLERANCE,
    TOLERANCES,
    TorchScriptExporter,
    compile_generator,
)
from ganforge.export.weights import SafetensorsExporter
from ganforge.runs.checkpoint import load_generator, save_generator
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
        kind: TorchScriptExporter().export(make(kind), card_of(data), folder / f"{kind}.pt")
        for kind, (_, data) in KINDS.items()
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


@pytest.mark.slow
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
    forward = (1 + 7 + 64) * (2 if kind in ("conditional", "truncatable") else 1)
    by_seed = (1 + 7 + 64) * (2 if kind == "truncatable" else 1) + (7 if kind == "conditional" else 0)
    assert report.num_examples == forward + by_seed * (1 if kind == "multilayer" else 2)
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
    for name, tensor in sorted(network.generator.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode() + tensor.contiguous().numpy().tobytes())
    assert about["digest"] == digest.hexdigest()
    assert not any(weight.requires_grad for weight in network.parameters())
    assert not network.training

    torch.jit.load(exported["truncatable"].path, _extra_files=texts)
    assert json.loads(texts["ganforge.json"])["inputs"]["truncation"]["default"] == 1.0
    torch.jit.load(exported["multilayer"].path, _extra_files=texts)
    assert "range" not in json.loads(texts["ganforge.json"])["output"]


def test_equal_weights_give_equal_bytes_under_any_name(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
    TorchScriptExporter().export(make("convolutional"), card_of(IMAGES), tmp_path / "other.pt")
    assert (tmp_path / "other.pt").read_bytes() == exported["convolutional"].path.read_bytes()


def test_the_original_and_the_random_state_are_left_alone(tmp_path):
    original = InsistsOnLabels(CLASSES).double().train()
    before, random = copy.deepcopy(original.state_dict()), torch.get_rng_state()
    report = TorchScriptExporter().export(original, card_of(CLASSES), tmp_path / "new" / "model.pt")
    assert report.num_examples == 72 + 2 * 72 + 2 * 7, "a network that insists on labels is called with labels alone"
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
@pytest.mark.slow
def test_a_network_that_is_another_once_compiled_is_refused_and_nothing_is_left(
    network, message, tmp_path, monkeypatch, fresh_verification
):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    with pytest.raises(GanforgeError, match=message):
        TorchScriptExporter().export(network(), card_of(VECTORS), tmp_path / "new" / "model.pt")
    assert [path.name for path in tmp_path.rglob("*")] == ["scratch"]


@pytest.mark.parametrize("spoil", [lambda output: output * torch.nan, lambda output: output[:-1]])
def test_an_output_that_is_not_finite_or_of_another_shape_is_refused(spoil, tmp_path, monkeypatch):
    original = Small()

    def run(content, calls, device):
        return [spoil(verification.run_call(original, call, VECTORS)) for call in calls]

    monkeypatch.setattr(verification, "_run", run)
    with pytest.raises(GanforgeError, match=r"differs from the original by (nan|inf)"):
        TorchScriptExporter().export(original, card_of(VECTORS), tmp_path / "model.pt")


def test_an_older_file_survives_a_failed_export(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"older")
    with pytest.raises(GanforgeError):
        TorchScriptExporter().export(TakesKeywords(), card_of(VECTORS), path)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_a_diverged_network_is_refused(tmp_path):
    original = Small()
    with torch.no_grad():
        original.layer.bias.fill_(torch.inf)
    with pytest.raises(GanforgeError, match="non-finite"):
        TorchScriptExporter().export(original, card_of(VECTORS), tmp_path / "model.pt")


def test_a_network_of_another_shape_than_its_data_is_refused(tmp_path):
    with pytest.raises(PluginError, match=r"returns shape \[1, 2\], its data have \[1, 3\]"):
        TorchScriptExporter().export(Small(), card_of(DataSpec((3,))), tmp_path / "model.pt")


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
        TorchScriptExporter().export(network(), card_of(VECTORS), tmp_path / "model.pt")
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


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_file_samples_what_ganforge_generates_from_the_same_seeds(exported, kind):
    network, original = torch.jit.load(exported[kind].path), make(kind)
    if kind == "noisy":
        torch.manual_seed(0)
        drawn = network.sample(70, 5)
        torch.manual_seed(0)
        torch.testing.assert_close(drawn, generate(original, 70, seed=5), rtol=0, atol=1e-5)
        return
    labels = cycle_labels(70, 3) if kind == "conditional" else None
    state = torch.get_rng_state()
    drawn = network.sample(70, 5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(drawn, generate(original, 70, seed=5, labels=labels), rtol=0, atol=1e-5)
    torch.testing.assert_close(network.sample(3, 40), drawn[35:38], rtol=0, atol=1e-5) if labels is None else None


def test_sample_takes_classes_and_truncation_and_refuses_what_does_not_fit(exported):
    conditional, truncatable = (torch.jit.load(exported[kind].path) for kind in ("conditional", "truncatable"))
    labels = torch.tensor([2, 0, 2])
    expected = generate(make("conditional"), 3, seed=1, labels=labels)
    torch.testing.assert_close(conditional.sample(3, 1, labels), expected, rtol=0, atol=1e-5)
    expected = generate(make("truncatable"), 3, seed=1, truncation=0.3)
    torch.testing.assert_close(truncatable.sample(3, 1, truncation=0.3), expected, rtol=0, atol=1e-5)
    for network, arguments, message in (
        (conditional, (0, 1), "count=0 must be at least 1"),
        (conditional, (2, 1, labels), "labels must be 2 classes"),
        (truncatable, (3, 1, labels), "has no classes"),
    ):
        with pytest.raises(torch.jit.Error, match=message):
            network.sample(*arguments)


def test_pixels_are_rounded_as_ganforge_rounds_them(exported):
    network = torch.jit.load(exported["conditional"].path)
    pixels = network.sample_uint8(9, 4)
    assert (pixels.dtype, pixels.shape) == (torch.uint8, (9, 8, 8, 3))
    assert pixels.is_contiguous()
    assert torch.equal(pixels, to_uint8(network.sample(9, 4)).permute(0, 2, 3, 1))
    assert not hasattr(torch.jit.load(exported["multilayer"].path), "sample_uint8")


def test_pixels_that_are_cut_off_instead_of_rounded_are_noticed():
    images = torch.linspace(-1.2, 1.2, 192).view(1, 3, 8, 8)
    pixels = to_uint8(images).permute(0, 2, 3, 1)
    assert verification._difference(pixels, images, is_pixels=True) <= 1e-6
    cut = (images * 127.5 + 127.5).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    assert verification._difference(cut, images, is_pixels=True) > 1e-4
    assert verification._difference(pixels.transpose(1, 2), images, is_pixels=True) > 1e-4


def test_every_method_is_described_with_a_call_that_runs(exported):
    texts = {"ganforge.json": ""}
    network = torch.jit.load(exported["truncatable"].path, _extra_files=texts)
    about = json.loads(texts["ganforge.json"])
    assert (about["precision"], about["device"], about["class_names"]) == ("float32", "cpu", [])
    assert about["methods"].keys() == {"forward", "sample", "sample_uint8"}
    assert about["methods"]["forward"]["inputs"] == about["inputs"]
    for name, method in about["methods"].items():
        arguments = {each.name for each in getattr(network, name).schema.arguments} - {"self"}
        assert method["inputs"].keys() == arguments
        output = eval(method["python"], {"network": network, "z": torch.randn(16, 6)})
        assert str(output.dtype) == f"torch.{method['output']['dtype']}"
        assert list(output.shape[1:]) == method["output"]["shape"][1:]


class Row(Generator):
    """Convolutions of every kind, each with batch norm after it, whose statistics are not those of the start."""

    def __init__(self, data: DataSpec = IMAGES, *, groups: int = 1) -> None:
        super().__init__()
        self.z_dim = 6
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(6, 8, 4, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=groups),
            nn.BatchNorm2d(8, affine=False),
            nn.Conv2d(8, 3, 3, padding=1),
            nn.BatchNorm2d(3),
        )
        for norm in [each for each in self.layers if isinstance(each, nn.BatchNorm2d)]:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z[:, :, None, None]).tanh()


@pytest.mark.parametrize(("groups", "left"), [(1, 0), (2, 1)])
def test_batch_norm_is_folded_into_the_convolution_before_it(groups, left):
    torch.manual_seed(0)
    network = Row(groups=groups).eval().requires_grad_(False)
    folded = copy.deepcopy(network)
    fold(folded)
    assert sum(isinstance(each, nn.BatchNorm2d) for each in folded.modules()) == left
    assert [name for name, _ in folded.named_children()] == [name for name, _ in network.named_children()]
    z = torch.randn(5, 6)
    torch.testing.assert_close(folded(z), network(z), rtol=0, atol=1e-6)
    assert network(z).std() > 0.1
    scripted = compile_generator(network, IMAGES)
    torch.testing.assert_close(scripted(z), network(z), rtol=0, atol=1e-6)
    assert scripted(z).is_contiguous()


def test_a_convolution_that_is_used_twice_or_a_network_that_views_its_maps_stays_as_it_is():
    class Shared(Row):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.layers[0]

    network = Shared().eval()
    fold(network)
    assert isinstance(network.layers[1], nn.BatchNorm2d)

    class Viewing(Row):
        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return super().forward(z).view(len(z), 3 * 8 * 8)

    network, z = Viewing().eval(), torch.randn(5, 6)
    assert fold_and_replace(network, lambda each: [each(z)], 1e-6) is network
    network = Row().eval()
    assert fold_and_replace(network, lambda each: [each(z)], 1e-6) is not network
    assert fold_and_replace(network, lambda each: [each(z) * (1 + (each is network))], 1e-6) is network


@pytest.mark.parametrize("bias", [True, False])
def test_the_ends_of_a_network_are_computed_in_another_way(bias):
    torch.manual_seed(0)
    first = nn.ConvTranspose2d(6, 8, (4, 3), bias=bias).double()
    pixels = torch.randn(5, 6, 1, 1, dtype=torch.float64)
    torch.testing.assert_close(PixelToKernel(first)(pixels), first(pixels), rtol=0, atol=1e-12)
    last = nn.ConvTranspose2d(8, 3, 4, 2, 1, bias=bias).double()
    maps = torch.randn(5, 8, 3, 7, dtype=torch.float64)
    for layout in (torch.contiguous_format, torch.channels_last):
        last = last.to(memory_format=layout)
        torch.testing.assert_close(PhaseShuffle(last)(maps), last(maps), rtol=0, atol=1e-12)


def test_only_layers_that_are_given_one_pixel_or_give_few_channels_are_replaced():
    class Both(Row):
        def __init__(self) -> None:
            super().__init__()
            again = nn.ConvTranspose2d(8, 8, 1)  # like the first, but of larger maps
            self.layers = nn.Sequential(*self.layers[:4], again, nn.ConvTranspose2d(8, 3, 4, 2, 1))

    network = Both().eval()
    changed = copy.deepcopy(network)
    replace_layers(changed, lambda each: each(torch.randn(2, 6)))
    kinds = [type(each) for each in changed.layers]
    assert kinds == [PixelToKernel, nn.BatchNorm2d, nn.ReLU, nn.ConvTranspose2d, nn.ConvTranspose2d, PhaseShuffle]
    assert changed.state_dict().keys() == network.state_dict().keys()
    z = torch.randn(5, 6)
    torch.testing.assert_close(changed(z), network(z), rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_fewer_bits_compute_in_their_type_and_give_float32(precision, tmp_path):
    network = make("convolutional")
    report = TorchScriptExporter(precision=precision).export(network, card_of(IMAGES), tmp_path / "model.pt")
    assert TOLERANCE < report.worst_difference <= TOLERANCES[precision]
    texts = {"ganforge.json": ""}
    loaded = torch.jit.load(report.path, _extra_files=texts)
    about = json.loads(texts["ganforge.json"])
    assert about["precision"] == precision
    assert {tensor.dtype for tensor in loaded.state_dict().values() if tensor.is_floating_point()} == {
        getattr(torch, precision)
    }
    assert loaded.sample(2, 0).dtype == torch.float32
    assert (loaded.sample(9, 3) - generate(network, 9, seed=3)).abs().max() <= TOLERANCES[precision]


def test_noise_in_fewer_bits_is_compared_with_the_same_noise():
    network = make("noisy")
    reduced, call = copy.deepcopy(network).bfloat16(), verification.Call("forward", {"z": torch.randn(3, 6)})
    (output,) = verification.reference_outputs(network, [call], IMAGES, reduced)
    assert torch.equal(output, verification.run_call(reduced, call, IMAGES))
    quiet = make("convolutional")
    (output,) = verification.reference_outputs(quiet, [call], IMAGES, copy.deepcopy(quiet).bfloat16())
    assert torch.equal(output, verification.run_call(quiet, call, IMAGES))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_file_for_cuda_needs_cuda():
    with pytest.raises(OptionError, match="no CUDA device found"):
        TorchScriptExporter(device="cuda")


def small_run(folder: Path) -> Path:
    """Weights of a built-in generator with their card."""
    from ganforge.builtin.mlp import MLPGenerator

    torch.manual_seed(0)
    generator = MLPGenerator(VECTORS, hidden=(4,))
    part = {"name": "mlp", "options": {"hidden": [4]}, "plugin": "mlp"}
    path = folder / "generator.safetensors"
    save_generator(path, generator.state_dict(), {**card_of(VECTORS), "generator": part})
    return path


def test_weights_are_given_away_as_they_are(tmp_path):
    source = small_run(tmp_path)
    generator, card = load_generator(source)
    report = SafetensorsExporter().export(generator, card, tmp_path / "new" / "copy.safetensors")
    assert report.path.read_bytes() == source.read_bytes()
    assert (report.num_bytes, report.worst_difference) == (source.stat().st_size, 0.0)
    assert report.num_examples == len(generator.state_dict())
    with torch.no_grad():
        next(generator.parameters()).add_(1)
    with pytest.raises(GanforgeError, match="do not match the generator's card"):
        SafetensorsExporter().export(generator, card, tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors").exists()


PLUGIN = """
from ganforge import Exporter, ExportReport, hookimpl

class Names(Exporter):
    "Names of all weights."
    suffix = ".txt"
    def __init__(self, *, end: str = ";") -> None:
        self.end = end
    def export(self, generator, card, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.end.join(generator.state_dict()))
        return ExportReport(path, path.stat().st_size, 1, 0.0, "texts")

@hookimpl
def ganforge_exporters():
    return {"names": Names}
"""


def call_main(*arguments) -> int:
    try:
        main([str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_writes_several_formats_at_once_a_plugins_among_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
    source, plugin = small_run(tmp_path), tmp_path / "names.py"
    plugin.write_text(PLUGIN)
    formats = ["--torchscript", "--safetensors", "--format", "names", "--set", "names.end=|"]
    assert call_main("export", source, *formats, "--plugin", plugin) == 0
    files = [tmp_path / "export" / f"generator{suffix}" for suffix in (".pt", ".safetensors", ".txt")]
    printed = capsys.readouterr()
    assert printed.out.split() == [str(file) for file in files]
    assert printed.err.count("equal to the network within") == 3
    assert files[2].read_text() == "|".join(load_generator(source)[0].state_dict())
    assert files[1].read_bytes() == source.read_bytes()
    assert call_main("export", source, "--to", tmp_path / "only.pt", "--set", "torchscript.precision=float16") == 0
    assert torch.jit.load(tmp_path / "only.pt").like.dtype == torch.float16


@pytest.mark.slow
def test_the_command_writes_folders_beside_files(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
    project = tmp_path / "viewer"
    assert call_main("export", small_run(tmp_path), "--onnx", "--cpp-project", project) == 0
    printed = capsys.readouterr()
    assert printed.out.split() == [str(tmp_path / "export" / "generator.onnx"), str(project)]
    assert printed.err.count("equal to the network within") == 2
    assert {"generator.pt", "CMakeLists.txt", "ganforge.hpp"} <= {each.name for each in project.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--torchscript", "--safetensors", "--to", "both.pt"], "several formats need a folder"),
        (["--safetensors", "--to", "one.pt"], "ends in .safetensors"),
        (["--format", "safetensor"], "did you mean 'safetensors'"),
        (["--set", "torchscript.precision=int8"], "'int8' is invalid"),
        (["--set", "safetensors.x=1"], "'safetensors' is not exported"),
        (["--safetensors", "--set", "safetensors.x=1"], "has no option 'x'"),
        (["--onnx", "--set", "onnx.part=half"], "'half' is invalid"),
        (["--onnx", "--set", "onnx.part=mapping"], "MLPGenerator has no styles"),
        (["--onnx", "--to", "one.pt"], "ends in .onnx"),
        (["--pt2", "--set", "pt2.precision=float16"], "'float16' is invalid"),
        (["--cpp-project", "project", "--to", "one.pt"], "no format uses it"),
        (["--web", "page"], "generates 2, not images"),
        (["--format", "web", "--to", "a.page"], "generates 2, not images"),
    ],
)
def test_the_command_tells_a_mistake_in_one_line(arguments, message, tmp_path, capsys):
    assert call_main("export", small_run(tmp_path), *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
