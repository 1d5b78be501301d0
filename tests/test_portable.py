"""ONNX and AOTInductor: every generator, all of its inputs, and what is said where one cannot be written."""

import importlib.util
import io
import json
import sys
import zipfile

import numpy
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from ganforge import DataSpec, GanforgeError, Generator, NoiseInjection, OptionError, StyleGenerator
from ganforge.export import inductor, verification
from ganforge.export.examples import CallOptions, list_examples, make_example
from ganforge.export.inductor import InductorExporter
from ganforge.export.inspection import effective_spec
from ganforge.export.onnx import TOLERANCE, OnnxExporter
from ganforge.export.portable import Portable
from ganforge.export.torchscript import compile_generator
from ganforge.plugins.registry import Registry
from ganforge.runs.checkpoint import digest_tensors
from ganforge.sampling import cycle_labels, draw_latents
from ganforge.testing import check_export

REGISTRY = Registry.installed()
CLASSES = DataSpec((1, 8, 8), ("cat", "dog", "eel"))
VECTORS = DataSpec((2,))


def card_of(data):
    return {
        "generator": {"name": "small", "options": {}},
        "data": {"shape": list(data.shape), "class_names": list(data.class_names)},
        "images": 1234,
    }


def make(name, conditioning="none", **options):
    """A registered generator whose weights are all at random, so that nothing that begins at zero is left out."""
    schema = REGISTRY.options("generator", name)
    wanted = {"width": 4, "z_dim": 20, "w_dim": 12, "mapping_layers": 2, "conditioning": conditioning, **options}
    torch.manual_seed(1)
    network = REGISTRY.part("generator", name).factory(CLASSES, **{k: v for k, v in wanted.items() if k in schema})
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for layer in network.modules():
            if isinstance(layer, NoiseInjection):
                layer.strength.normal_().div_(layer.lr_multiplier)
        for buffer_name, buffer in network.named_buffers():
            if buffer_name.endswith(("mean", "running_mean")):
                buffer.normal_()
    return network.eval()


def cases():
    for name in REGISTRY.names("generator"):
        schema = REGISTRY.options("generator", name)
        ways = getattr(schema["conditioning"].annotation, "__args__", ()) if "conditioning" in schema else ("none",)
        yield from ((name, way) for way in ways)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Exports a registered generator as ONNX, once; gives the network, the report and a session of ONNX Runtime."""
    folder, made = tmp_path_factory.mktemp("onnx"), {}

    def export(name, conditioning="none", part="whole"):
        key = (name, conditioning, part)
        if key not in made:
            network = make(name, conditioning)
            report = OnnxExporter(part=part).export(network, card_of(CLASSES), folder / f"{'-'.join(key)}.onnx")
            made[key] = network, report, onnxruntime.InferenceSession(report.path)
        return made[key]

    return export


def run(session, **inputs):
    feeds = {name: numpy.asarray(value, dtype=TYPES[name]) for name, value in inputs.items()}
    return torch.from_numpy(session.run(None, feeds)[0])


TYPES = {
    "labels": numpy.int64,
    "cutoff": numpy.int64,
    **dict.fromkeys(("z", "truncation", "noise", "styles"), "float32"),
}
TYPES["fixed_noise"] = "float32"


def sorted_by_time():
    """One of them is quick. Those that do without the labels that they could take are exhaustive, but for one."""
    conditional = {name for name, way in cases() if way != "none"} - {"dcgan"}
    for name, way in cases():
        mark = pytest.mark.exhaustive if name in conditional and way == "none" else pytest.mark.slow
        yield pytest.param(name, way, marks=() if (name, way) == ("dcgan", "input") else mark)


@pytest.mark.parametrize(("name", "conditioning"), [*sorted_by_time()])
def test_every_generator_is_the_same_in_onnx_runtime(name, conditioning, exported):
    network, report, session = exported(name, conditioning)
    assert report.worst_difference <= TOLERANCE
    assert report.num_examples >= 72
    z, labels = draw_latents(5, network.z_dim, 11), torch.tensor([2, 0, 1, 1, 2])
    given = {"z": z} | ({"labels": labels} if conditioning != "none" else {})
    arguments = {"labels": labels}
    if isinstance(network, StyleGenerator):
        layers, size = session.get_inputs()[-1].shape[0], session.get_inputs()[-2].shape[1]
        given |= {"truncation": 0.6, "cutoff": 2, "noise": torch.zeros(5, size), "fixed_noise": torch.ones(layers)}
        arguments |= {"truncation": 0.6, "cutoff": 2}
    with torch.no_grad():
        expected = network(z, **arguments)
    assert {each.name for each in session.get_inputs()} == set(given), "an input was dropped"
    torch.testing.assert_close(run(session, **given), expected, rtol=0, atol=1e-4)
    for changed in set(given) - {"noise"}:  # each input counts
        value = torch.as_tensor(given[changed])
        other = run(
            session, **{**given, changed: value.roll(1, 0) if value.dim() and changed != "fixed_noise" else value * 0}
        )
        assert (other - expected).abs().max() > 1e-3, changed


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
@pytest.mark.slow
def test_drawn_noise_is_what_the_network_draws(name, exported):
    network, _, session = exported(name, "input")
    portable = Portable(network, CLASSES)
    given = {"z": draw_latents(3, network.z_dim, 0), "labels": torch.tensor([2, 0, 1])}
    with torch.no_grad():
        torch.manual_seed(5)
        expected = network(**given, noise="random")
        silent = network(**given, noise="none")
    torch.manual_seed(5)
    noise = portable.plan.draw(3)
    rest = {"truncation": 1.0, "cutoff": -1, "fixed_noise": torch.zeros(len(portable.plan.layers))}
    torch.testing.assert_close(run(session, **given, noise=noise, **rest), expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(run(session, **given, noise=noise * 0, **rest), silent, rtol=0, atol=1e-4)
    assert (expected - silent).abs().max() > 1e-2


def test_examples_cover_batches_truncations_classes_and_noise():
    network = make("stylegan", "input")
    portable = Portable(network, CLASSES)
    asked = [each.options for each in list_examples(portable, network)]
    assert {each.count for each in asked} == {1, 7, 64}
    assert {each.truncation for each in asked} == {0.5, 1.0}
    assert {each.noise for each in asked} == {"random", "fixed", "none", "only-coarse", "only-fine"}
    assert {each.cutoff for each in asked} == {-1, 0, 1}
    assert any(each.label == 2 for each in asked)
    coarse, fine = (
        make_example(portable, network, CallOptions(2, noise=noise)).inputs["fixed_noise"]
        for noise in ("only-coarse", "only-fine")
    )
    assert (coarse + fine).tolist() == [1.0] * 4


@pytest.mark.slow
def test_both_halves_make_the_whole(exported):
    network, _, whole = exported("stylegan2", "input")
    _, _, mapping = exported("stylegan2", "input", "mapping")
    _, _, synthesis = exported("stylegan2", "input", "synthesis")
    z, labels = draw_latents(4, network.z_dim, 0), cycle_labels(4, 3)
    first = {"z": z, "labels": labels, "truncation": 0.7, "cutoff": -1}
    second = {"noise": torch.zeros(4, 144), "fixed_noise": torch.ones(3)}
    styles = run(mapping, **first)
    assert styles.shape == (4, network.num_styles, network.w_dim)
    torch.testing.assert_close(
        run(synthesis, styles=styles, **second), run(whole, **first, **second), rtol=0, atol=1e-4
    )


@pytest.mark.slow
def test_the_file_tells_how_it_is_called_and_keeps_paths_to_itself(exported):
    network, report, session = exported("stylegan", "input")
    texts = session.get_modelmeta().custom_metadata_map
    about = json.loads(texts["ganforge.json"])
    assert about["order"] == [each.name for each in session.get_inputs()]
    assert set(about["order"]) == set(about["inputs"])
    assert [about["inputs"][each.name]["shape"] for each in session.get_inputs()] == [
        each.shape for each in session.get_inputs()
    ]
    assert about["output"]["name"] == session.get_outputs()[0].name == "images"
    assert about["class_names"] == ["cat", "dog", "eel"]
    assert about["digest"] == digest_tensors(network.state_dict())
    assert "z: z" in about["python"].replace('"', "")
    lines = dict(line.split(": ", 1) for line in texts["summary.txt"].splitlines())
    assert lines["inputs"] == "z labels truncation cutoff noise fixed_noise"
    assert (lines["noise_size"], lines["noise_layers"], lines["fixed_noise"]) == ("160", "4", "1 1 1 1")
    assert (lines["class_names"], lines["num_classes"], lines["format"]) == ("cat, dog, eel", "3", "onnx")
    onnx.checker.check_model(onnx.load(report.path), full_check=True)
    assert b"site-packages" not in report.path.read_bytes()
    assert b".py" not in report.path.read_bytes()


@pytest.mark.slow
def test_equal_weights_give_equal_bytes(exported, tmp_path):
    network, report, _ = exported("dcgan")
    again = OnnxExporter().export(network, card_of(CLASSES), tmp_path / "again.onnx")
    assert again.path.read_bytes() == report.path.read_bytes()


@pytest.mark.parametrize("name", ["pggan", "stylegan"])
@pytest.mark.slow
def test_a_network_that_grows_is_written_at_its_stage(name, tmp_path):
    network = make(name, growing=True, start_resolution=4 if name == "pggan" else 8, stage_images=10, fade_images=10)
    network.grow(15)
    report = OnnxExporter().export(network, card_of(CLASSES), tmp_path / "model.onnx")
    assert report.worst_difference <= TOLERANCE


@pytest.mark.parametrize(("name", "conditioning"), [*cases()])
def test_no_torchscript_file_holds_what_an_older_torch_does_not_know(name, conditioning):
    scripted = compile_generator(make(name, conditioning, upsampling="nearest"), CLASSES)
    content = io.BytesIO()
    torch.jit.save(scripted, content)
    archive = zipfile.ZipFile(content)
    code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
    assert b"def forward" in code
    assert b"interpolate" not in code, "it holds all filters, even those that came with the newest torch"


@pytest.mark.exhaustive  # compiling takes long, and every network is compared with ONNX Runtime
@pytest.mark.parametrize("name", ["dcgan", "stylegan2"])
def test_generators_are_the_same_as_native_code(name, tmp_path):
    ways = [way for each, way in cases() if each == name]
    network = make(name, ways[-1])
    report = InductorExporter().export(network, card_of(CLASSES), tmp_path / "model.pt2")
    assert report.worst_difference <= TOLERANCE
    package = torch._inductor.aoti_load_package(str(report.path))
    about = json.loads(package.get_metadata()["ganforge.json"])
    example = make_example(Portable(network, CLASSES), network, CallOptions(5, noise="fixed"))
    assert about["order"] == list(example.inputs)
    torch.testing.assert_close(package(*example.inputs.values()), example.output, rtol=0, atol=1e-4)


def test_labels_that_are_never_looked_at_are_no_input():
    assert effective_spec(make("dcgan"), CLASSES) == DataSpec((1, 8, 8))
    assert effective_spec(make("dcgan", "input"), CLASSES) == CLASSES
    assert effective_spec(make("stylegan", "input"), CLASSES) == CLASSES


class Small(Generator):
    def __init__(self, data: DataSpec = VECTORS) -> None:
        super().__init__()
        self.z_dim = 4
        self.layer = nn.Linear(4, 2)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z)


class CountsByLen(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z).view(len(z), 2)


class Branches(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        if truncation < 1.0:  # HERE
            z = z * truncation
        return self.layer(z)


class Erfinv(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.special.erfinv(self.layer(z).tanh())


class Draws(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z + torch.randn_like(z))


class Otherwise(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layer(z) + (1.0 if torch.compiler.is_exporting() else 0.0)


class Truncatable(Small):
    def forward(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        return self.layer(z * truncation**2)


class Styled(StyleGenerator):
    """Options make its truncation nonlinear, and its noise its own."""

    def __init__(self, data: DataSpec, *, bent: bool = False, own_noise: bool = False) -> None:
        super().__init__()
        self.z_dim, self.w_dim, self.num_styles = 4, 4, 2
        self.bent, self.own_noise = bent, own_noise
        self.inject = NoiseInjection(1, 8)
        nn.init.ones_(self.inject.strength)

    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        w = z[:, None].expand(-1, 2, -1)
        near = w * (truncation**2 if self.bent else truncation)
        return near if cutoff < 0 else torch.cat([near[:, :cutoff], w[:, cutoff:]], dim=1)

    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        images = w.flatten(1).repeat(1, 8).view(-1, 1, 8, 8).sin()
        if self.own_noise:
            return images + torch.randn_like(images) if noise == "random" else images
        return self.inject(images, "none" if noise == "none" else "random" if noise == "random" else "fixed").tanh()


@pytest.mark.parametrize(
    ("network", "data", "message"),
    [
        (CountsByLen, VECTORS, r"write x.shape\[0\], not len\(x\)"),
        (Branches, VECTORS, "may not branch .* on truncation"),
        (Erfinv, VECTORS, r"ONNX has no operation \S*erf_?inv, at .*replace it in forward, or export by --torchscript"),
        (Draws, VECTORS, "Draws draws random numbers in forward"),
        (Otherwise, VECTORS, "differs from the network by 1 for"),
        (lambda data: Styled(data, bent=True), CLASSES, "not linearly on truncation"),
        (lambda data: Styled(data, own_noise=True), CLASSES, "take noise from ganforge.NoiseInjection"),
    ],
)
def test_what_cannot_be_written_is_told_in_one_line_and_nothing_is_left(network, data, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"older")
    with pytest.raises(GanforgeError, match=message) as caught:
        OnnxExporter().export(network(data).eval(), card_of(data), path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_line_that_branches_is_named(tmp_path):
    with pytest.raises(GanforgeError) as caught:
        OnnxExporter().export(Branches().eval(), card_of(VECTORS), tmp_path / "model.onnx")
    with open(__file__) as file:
        line = next(number for number, text in enumerate(file, 1) if "truncation < 1.0:  # HERE" in text)
    assert f"{__file__}:{line}" in str(caught.value)


@pytest.mark.slow
def test_networks_of_others_are_written_too(tmp_path):
    for network, data in ((Small(), VECTORS), (Truncatable(), VECTORS), (Styled(CLASSES), CLASSES)):
        report = OnnxExporter().export(network.eval(), card_of(data), tmp_path / "model.onnx")
        assert report.worst_difference <= TOLERANCE


def test_authors_can_check_the_export():
    assert check_export(Styled, OnnxExporter(), CLASSES).worst_difference <= TOLERANCE
    with pytest.raises(AssertionError, match="take noise from ganforge.NoiseInjection"):
        check_export(Styled, OnnxExporter(), CLASSES, own_noise=True)


def test_half_of_a_network_without_styles_is_refused(tmp_path):
    for exporter in (OnnxExporter(part="mapping"), InductorExporter(part="synthesis")):
        with pytest.raises(OptionError, match="Small has no styles"):
            exporter.export(Small().eval(), card_of(VECTORS), tmp_path / "model")


def test_a_diverged_network_is_refused(tmp_path):
    network = Small().eval()
    with torch.no_grad():
        network.layer.bias.fill_(torch.nan)
    for exporter in (OnnxExporter(), InductorExporter()):
        with pytest.raises(GanforgeError, match="non-finite"):
            exporter.export(network, card_of(VECTORS), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(OptionError, match=r'needs onnxscript .*pip install "ganforge\[onnx\]"'):
        OnnxExporter()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is CUDA")
def test_code_for_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(OptionError, match="device=cuda: no CUDA device found"):
        InductorExporter(device="cuda")


@pytest.mark.parametrize("consumer", [inductor._CONSUMER, verification._CONSUMER], ids=["pt2", "torchscript"])
def test_files_are_verified_without_tf32(consumer, monkeypatch):
    """The reference is float32 on a CPU, and TF32, cuDNN's default, is off by 1e-3."""
    seen = []

    def load(*_args, **_kwargs):
        seen.append(torch.backends.cudnn.allow_tf32)
        raise LookupError

    monkeypatch.setattr(torch._inductor, "aoti_load_package", load)
    monkeypatch.setattr(torch.jit, "load", load)
    monkeypatch.setattr(sys, "argv", ["-c", "folder", "cuda"])
    monkeypatch.setenv("AOTI_RUNTIME_CHECK_INPUTS", "0")
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True), pytest.raises(LookupError):
        exec(consumer, {})
    assert seen == [False]
