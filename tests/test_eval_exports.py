"""Exported files are evaluated: they give the images and the scores of the run."""

import hashlib
import importlib.util
import json

import onnx
import pytest
import torch
from torch import nn

from ganforge import DataSpec, NoiseInjection
from ganforge.builtin.metrics import METRICS
from ganforge.contract.errors import CheckpointError, OptionError
from ganforge.data.store import PackedData
from ganforge.evaluation.extractors.user import TorchScriptExtractor
from ganforge.evaluation.metrics.comparison import Comparison, Protocol, Reference
from ganforge.evaluation.results.result import read_rows
from ganforge.evaluation.subjects.exported import OnnxSubject, TorchScriptSubject, open_exported
from ganforge.evaluation.subjects.subject import GeneratorSubject
from ganforge.evaluation.subjects.targets import open_target
from ganforge.export import onnx as onnx_export
from ganforge.export import torchscript
from ganforge.export.description import describe_portable
from ganforge.export.onnx import OnnxExporter
from ganforge.export.portable import Portable
from ganforge.export.torchscript import TorchScriptExporter
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import load_generator, save_generator
from ganforge.runs.folder import RunFolder
from ganforge.sampling import cycle_labels

CPU = torch.device("cpu")
REGISTRY = Registry.installed()
NAMES = ("cat", "dog", "eel")
KINDS = {
    "plain": ("dcgan", {"width": 4, "z_dim": 20}),
    "conditional": ("dcgan", {"width": 4, "z_dim": 20, "conditioning": "input"}),
    "styles": ("stylegan", {"width": 4, "z_dim": 20, "w_dim": 12, "mapping_layers": 2}),
}
FORMATS = {"torchscript": TorchScriptExporter, "onnx": OnnxExporter}
# The first export as ONNX takes seconds.
FORMS = ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)]


def make_data(name, classes=NAMES):
    source = torch.Generator().manual_seed(len(name))
    examples = torch.randint(0, 256, (120, 1, 8, 8), generator=source, dtype=torch.uint8)
    labels = torch.arange(120) % len(classes) if classes else None
    return PackedData(name, examples, labels, classes, "")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders of packed data: that of all runs, others, those without classes, and those with too many."""
    home = tmp_path_factory.mktemp("data")
    classes = {"own": NAMES, "others": NAMES, "unlabelled": (), "many": (*NAMES, "fox")}
    for name, each in classes.items():
        make_data(name, each).save(home / name)
    return {name: home / name for name in classes}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data):
    """A run of each kind, whose weights are at random so that nothing that begins at zero is left out."""
    folders = {}
    for kind, (name, options) in KINDS.items():
        torch.manual_seed(1)
        network = REGISTRY.build("generator", name, options, DataSpec((1, 8, 8), NAMES))
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            for layer in network.modules():
                if isinstance(layer, NoiseInjection):
                    layer.strength.normal_().div_(layer.lr_multiplier)
            for buffer_name, buffer in network.named_buffers():
                if buffer_name.endswith("mean"):
                    buffer.normal_()
        folder = RunFolder(tmp_path_factory.mktemp("runs") / kind)
        folder.path.mkdir()
        folder.write_config({"data": {"source": str(data["own"])}, "training": {"holdout": 0.25}})
        card = {
            "generator": {"name": name, "options": options, "plugin": name},
            "data": {
                "shape": [1, 8, 8],
                "class_names": list(NAMES),
                "fingerprint": PackedData.load(data["own"]).fingerprint,
            },
            "images": 1234,
        }
        save_generator(folder.generator, network.state_dict(), card)
        folders[kind] = folder
    return folders


@pytest.fixture(scope="module")
def export(runs):
    """Exports a run, once, without the proof that tests of exporters look after; gives the file."""

    def write(kind, form, **options):
        exporter = FORMATS[form](**options)
        path = runs[kind].path / "export" / f"{'-'.join(['generator', *options.values()])}{exporter.suffix}"
        if not path.exists():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
                patch.setattr(onnx_export, "compare_examples", lambda *arguments: 0.0)
                exporter.export(*load_generator(runs[kind].generator), path)
        return path

    return write


@pytest.fixture(scope="module")
def extractor_file(tmp_path_factory):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, 6)).eval()
    path = tmp_path_factory.mktemp("extractor") / "eye.pt"
    torch.jit.trace(network, torch.zeros(2, 1, 8, 8)).save(path)
    return path


def run_subject(folder):
    generator, card = load_generator(folder.generator)
    return GeneratorSubject(generator, card, folder.path, name=str(folder.path))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "truncation"), [("plain", 1.0), ("conditional", 1.0), ("styles", 1.0), ("styles", 0.6)]
)
def test_a_file_draws_the_images_of_the_run(kind, truncation, form, runs, export):
    subject, original = open_exported(export(kind, form), CPU), run_subject(runs[kind])
    labels = cycle_labels(64, subject.num_classes)
    drawn = subject.draw(5, 64, seed=3, labels=labels, truncation=truncation)
    expected = original.draw(5, 64, seed=3, labels=labels, truncation=truncation)
    assert drawn.dtype == torch.uint8
    assert expected.float().std() > 10, "images of one shade would agree whatever was drawn"
    difference = (drawn.int() - expected.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() <= 1e-3, "rounding alone may tell them apart, at the edge of two shades"
    others = original.draw(6, 64, seed=3, labels=labels, truncation=truncation)
    assert (drawn.int() - others.int()).abs().max() > 1


@pytest.mark.parametrize("form", FORMS)
def test_a_file_knows_classes_if_its_generator_looks_at_them(form, export):
    assert open_exported(export("plain", form), CPU).num_classes == 0
    subject = open_exported(export("conditional", form), CPU)
    assert subject.num_classes == 3
    cats, dogs = (subject.draw(0, 2, seed=0, labels=torch.full((2,), c), truncation=1.0).int() for c in (0, 1))
    assert (cats - dogs).abs().max() > 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_score_is_the_runs(kind, form, runs, export, extractor_file, tmp_path, data):
    reference = Reference.choose(PackedData.load(data["own"]), holdout=0.25)
    extractor = TorchScriptExtractor(reference.data.spec, weights=str(extractor_file))

    def score(subject, seed=0):
        protocol = Protocol(samples=200, seed=seed)
        comparison = Comparison(subject, reference, extractor, protocol, device=CPU, cache=tmp_path)
        return torch.tensor([comparison.measure(metric, METRICS[metric]())[0].value for metric in ("fid", "kid")])

    expected = score(run_subject(runs[kind]))
    torch.testing.assert_close(score(open_exported(export(kind, form), CPU)), expected, rtol=1e-4, atol=0)
    assert (score(run_subject(runs[kind]), seed=1000) / expected - 1).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_what_it_is_and_of_what_it_was_made(form, runs, export, data):
    path = export("plain", form)
    subject = open_exported(path, CPU)
    assert isinstance(subject, {"torchscript": TorchScriptSubject, "onnx": OnnxSubject}[form])
    expected = {
        "kind": form,
        "name": str(path),
        "digest": hashlib.sha256(path.read_bytes()).hexdigest(),
        "weights": None,
        "images_seen": 1234,
        "trained_on": PackedData.load(data["own"]).fingerprint,
        "precision": "float32",
        "made_of": load_generator(runs["plain"].generator)[1]["digest"],
    }
    assert {name: subject.about[name] for name in expected} == expected
    assert (subject.shape, subject.most, subject.home) == ((1, 8, 8), None, path.parent)


def test_weights_of_sixteen_bits_say_so(export):
    subject = open_exported(export("plain", "torchscript", precision="bfloat16"), CPU)
    assert subject.about["precision"] == "bfloat16"
    exact = open_exported(export("plain", "torchscript"), CPU)
    drawn, expected = (each.draw(0, 8, seed=0, labels=None, truncation=1.0).float() for each in (subject, exact))
    assert 0 < (drawn - expected).abs().mean() < 3


@pytest.mark.slow
def test_the_command_evaluates_a_file_in_its_run_like_the_run(runs, export, extractor_file, run):
    files = [export("plain", form) for form in FORMATS]
    rest = ("--fid", "--extractor", extractor_file, "--samples", 100, "--references", 80, "--device", "cpu", "--json")
    code, out, err = run("eval", runs["plain"].path, *files, *rest)
    assert code == 0, err
    rows = json.loads(out)
    assert [row["subject"]["kind"] for row in rows] == ["generator", "torchscript", "onnx"]
    of_run, *of_files = rows
    for row in of_files:
        assert row["protocol"] == of_run["protocol"]
        assert row["value"] == pytest.approx(of_run["value"], rel=1e-4)
    assert of_run["protocol"]["holdout"] == 0.25
    kept = read_rows(runs["plain"].path / "export" / "evaluations.jsonl")
    assert [row.value for row in kept] == [row["value"] for row in of_files]


def test_other_data_are_taken_if_they_are_named(export, data, runs):
    path = export("plain", "torchscript")

    def target(source):
        return open_target(str(path), runs["plain"].path, data=source, raw=False, device=CPU, registry=REGISTRY)

    own, named, others = target(None), target(str(data["own"])), target(str(data["others"]))
    assert (own.data.name, own.holdout, own.run) == ("own", 0.25, None)
    assert (named.data.name, named.holdout) == ("own", 0.25)
    assert (others.data.name, others.holdout) == ("others", 0.0)
    assert others.subject.about["trained_on"] == own.data.fingerprint != others.data.fingerprint


def test_files_outside_a_run_and_files_of_other_data_need_data(export, data, runs, run, tmp_path):
    path = export("plain", "torchscript")
    lonely = tmp_path / "generator.pt"
    lonely.write_bytes(path.read_bytes())
    changed = RunFolder(tmp_path / "changed")
    (changed.path / "export").mkdir(parents=True)
    changed.write_config({"data": {"source": str(data["others"])}})
    moved = changed.path / "export" / "generator.pt"
    moved.write_bytes(path.read_bytes())
    for file, reason in ((lonely, "is not in the folder export/ of a run"), (moved, "was trained on other data than")):
        code, _, err = run("eval", file, "--fid")
        assert code == 2
        assert reason in err
        assert "add --data SET" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("form", FORMS)
def test_classes_that_the_generator_does_not_know_are_refused(form, export, data, run, extractor_file):
    code, _, err = run(
        "eval", export("conditional", form), "--fid", "--data", data["many"], "--extractor", extractor_file
    )
    assert code == 2
    assert "many has 4 classes, the generator knows 3" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("form", FORMS)
def test_beside_data_without_classes_all_classes_are_drawn_alike(form, export, data, run, extractor_file):
    code, out, _ = run(
        "eval", export("conditional", form), "--fid", "--data", data["unlabelled"], "--extractor", extractor_file,
        "--samples", 30, "--json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)[0]["value"] > 0


def damaged(path, folder, keep):
    copy = folder / f"damaged{path.suffix}"
    copy.write_bytes(path.read_bytes()[:keep])
    return copy


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", [0, 100, -200])
def test_a_damaged_file_is_told_in_one_line(form, keep, export, tmp_path):
    with pytest.raises(CheckpointError, match=r"damaged\..*: is no.* or damaged") as caught:
        open_exported(damaged(export("plain", form), tmp_path, keep), CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_files_that_ganforge_has_not_written_are_refused(extractor_file, export, tmp_path):
    model = onnx.load(export("plain", "onnx"))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    for path in (extractor_file, tmp_path / "bare.onnx"):
        with pytest.raises(CheckpointError, match="no valid metadata.*other programs: evaluate a folder"):
            open_exported(path, CPU)
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(CheckpointError, match="is not TorchScript"):
        open_exported(tmp_path / "weights.pt", CPU)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        open_exported(tmp_path / "nothing.onnx", CPU)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["mapping", "synthesis"])
def test_half_of_a_generator_is_refused(part, runs, export, tmp_path):
    network, _ = load_generator(runs["styles"].generator)
    model = onnx.load(export("styles", "onnx"))
    (texts,) = (each for each in model.metadata_props if each.key == "ganforge.json")
    half = describe_portable(Portable(network, DataSpec((1, 8, 8), NAMES), part))
    texts.value = json.dumps({**json.loads(texts.value), **half})
    onnx.save(model, tmp_path / "half.onnx")
    with pytest.raises(CheckpointError, match=f"holds only the {part} half of a generator"):
        open_exported(tmp_path / "half.onnx", CPU)


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"order": ["z", "nonsense"]}, {"order": ["labels"]}, {"order": 3}, {"noise": 3}])
def test_a_graph_that_describes_itself_wrongly_is_told_in_one_line(change, export, tmp_path):
    model = onnx.load(export("styles", "onnx"))
    (text,) = (each for each in model.metadata_props if each.key == "ganforge.json")
    text.value = json.dumps({**json.loads(text.value), **change})
    onnx.save(model, tmp_path / "odd.onnx")
    subject = open_exported(tmp_path / "odd.onnx", CPU)
    with pytest.raises(CheckpointError, match="odd.onnx: cannot generate") as error:
        subject.draw(0, 2, seed=0, labels=cycle_labels(2, subject.num_classes), truncation=1.0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("form", FORMS)
def test_truncation_and_classes_must_be_there(form, export):
    with pytest.raises(OptionError, match="cannot be truncated .*leave --truncation out"):
        open_exported(export("plain", form), CPU).draw(0, 1, seed=0, labels=None, truncation=0.5)
    with pytest.raises(OptionError, match="needs labels of 3 classes"):
        open_exported(export("conditional", form), CPU).draw(0, 1, seed=0, labels=None, truncation=1.0)


def test_vectors_are_refused(tmp_path):
    network = REGISTRY.build("generator", "mlp", {"hidden": [4]}, DataSpec((2,)))
    card = {
        "generator": {"name": "mlp", "options": {"hidden": [4]}},
        "data": {"shape": [2], "class_names": [], "fingerprint": "f"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torchscript, "worst_difference", lambda *arguments: 0.0)
        TorchScriptExporter().export(network.eval(), card, tmp_path / "vectors.pt")
    with pytest.raises(OptionError, match="generates vectors"):
        open_exported(tmp_path / "vectors.pt", CPU)


@pytest.mark.slow
def test_without_onnxruntime_the_extra_is_named(export, monkeypatch):
    path = export("plain", "onnx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r'onnxruntime is not installed .*pip install "ganforge\[onnx\]"'):
        open_exported(path, CPU)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("generator.pt2", (), ".pt2 cannot be evaluated - use a run, generator.safetensors, or an exported .pt or"),
        ("notes", (), "files without extension cannot be evaluated"),
        ("generator.pt", ("--raw",), "is no run, and only runs have weights without EMA"),
    ],
)
def test_the_command_names_what_can_be_evaluated(name, arguments, message, run, tmp_path):
    (tmp_path / name).write_bytes(b"something")
    code, _, err = run("eval", tmp_path / name, "--fid", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
