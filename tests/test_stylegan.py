import json

import pytest
import torch

import ganforge
from ganforge import DataSpec, EqualizedConv2d, MinibatchDeviation, OptionError, StyleGenerator
from ganforge.builtin.stylegan import StyleGANDiscriminator, StyleGANGenerator
from ganforge.config.schema import resolve
from ganforge.export import torchscript, verification
from ganforge.export.scripting import script
from ganforge.plugins.registry import Registry
from ganforge.sampling import generate, generate_batches
from ganforge.testing import check_discriminator, check_generator
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator, step_generator

REGISTRY = Registry.installed()
IMAGES = DataSpec((3, 16, 16))
CLASSES = DataSpec((3, 8, 8), ("cat", "dog", "eel"))
SMALL = {"width": 4, "max_width": 8}
TINY = SMALL | {"z_dim": 5, "w_dim": 6, "mapping_layers": 2}


def make(data=IMAGES, *, noisy=True, **options):
    """A generator in evaluation mode as after some training: noise has strengths, and w a mean."""
    torch.manual_seed(0)
    network = StyleGANGenerator(data, **TINY, **options)
    with torch.no_grad():
        for layer in network.layers if noisy else ():
            layer.noise.strength.normal_(std=1 / layer.noise.lr_multiplier)
        network.mapper.mean.normal_()
    return network.eval()


# The networks.


@pytest.mark.parametrize("resolution", [8, 16, 64, 256])
def test_every_power_of_two_is_made_by_two_styled_layers_a_size_and_judged(resolution):
    data = DataSpec((3, resolution, resolution))
    generator = StyleGANGenerator(data, **TINY)
    assert generator.num_styles == 2 * (resolution.bit_length() - 2)
    images = generator(torch.randn(2, 5))
    assert images.shape == (2, 3, resolution, resolution)
    assert StyleGANDiscriminator(data, **SMALL)(images).shape == (2,)


def test_at_1024_pixels_the_networks_have_the_channels_of_the_paper():
    with torch.device("meta"):
        generator = StyleGANGenerator(DataSpec((3, 1024, 1024)))
    assert generator.num_styles == 18
    channels = [layer.noise.strength.shape[0] for layer in generator.layers][::2]
    assert channels == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [layer.noise.fixed.shape[-1] for layer in generator.layers][1::2] == [2**k for k in range(2, 11)]


@pytest.mark.parametrize("conditioning", ["none", "input"])
def test_the_generator_passes_the_checks(conditioning):
    check_generator(StyleGANGenerator, CLASSES, **TINY, conditioning=conditioning)


@pytest.mark.parametrize("conditioning", ["none", "input", "projection", "auxiliary", "joint"])
def test_the_discriminator_passes_the_checks(conditioning):
    check_discriminator(StyleGANDiscriminator, CLASSES, **SMALL, conditioning=conditioning)


@pytest.mark.parametrize("minibatch", ["deviation", "discrimination"])
def test_the_discriminator_is_told_of_the_batch_by_one_more_map(minibatch):
    torch.manual_seed(0)
    check_discriminator(StyleGANDiscriminator, CLASSES, **SMALL, minibatch=minibatch)
    network = StyleGANDiscriminator(CLASSES, **SMALL, minibatch=minibatch)
    images = torch.randn(8, 3, 8, 8)
    features = network.features(images)
    alone, among_others = network(images[:1].expand(8, 3, 8, 8))[0], network(images)[0]
    assert not torch.isclose(alone, among_others)
    if minibatch == "deviation":
        number = features.double().std(0, correction=0).mean().float()
        assert torch.allclose(MinibatchDeviation()(features), number.expand(8, 1))
        seen = []
        network.judge[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        network(images)
        assert torch.equal(seen[0][:, :-1].flatten(1), features)
        assert torch.allclose(seen[0][:, -1:], number.expand(8, 1, 4, 4))


def test_the_discriminator_halves_maps_and_doubles_channels():
    network = StyleGANDiscriminator(DataSpec((1, 32, 32)), width=4, max_width=16)
    convolutions = [layer for layer in network.layers if isinstance(layer, EqualizedConv2d)]
    shapes = [(each.weight.shape[1], each.weight.shape[0], each.resample) for each in convolutions]
    none, down = "none", "down"
    assert shapes == [(1, 4, none), (4, 4, none), (4, 8, down), (8, 8, none), (8, 16, down), (16, 16, none),
                      (16, 16, down)]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "options", "data", "message"),
    [
        ("generator", {"width": 0}, (3, 32, 32), "width=0 must be at least 1"),
        ("generator", {"mixing": 1.5}, (3, 32, 32), "mixing=1.5 must be at least 0 and at most 1"),
        ("generator", {"mapping_layers": 0}, (3, 32, 32), "mapping_layers=0 must be at least 1"),
        ("generator", {"conditioning": "input"}, (3, 32, 32), "needs labeled data"),
        ("discriminator", {}, (3, 500, 400), "--resolution 384x512"),
        ("discriminator", {}, (3, 2048, 2048), "--resolution 1024"),
        ("discriminator", {}, (2,), "use --arch mlp"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(kind, options, data, message):
    with pytest.raises(OptionError, match=message):
        REGISTRY.build(kind, "stylegan", options, DataSpec(data))


# Styles.


def test_images_are_the_synthesis_of_the_mapping():
    generator = make()
    assert isinstance(generator, StyleGenerator)
    z = torch.randn(3, 5)
    w = generator.mapping(z, truncation=0.6, cutoff=2)
    assert w.shape == (3, 6, 6)
    images = generator(z, truncation=0.6, cutoff=2, noise="none")
    assert torch.equal(images, generator.synthesis(w, "none"))
    assert not torch.equal(images, generator(z, truncation=0.6, noise="none"))


def test_truncation_of_0_gives_one_image_and_of_1_changes_nothing():
    generator = make()
    first, second = generator(torch.randn(2, 5), truncation=0.0, noise="none")
    assert torch.allclose(first, second, atol=1e-6)
    z = torch.randn(3, 5)
    assert torch.equal(generator(z, truncation=1.0), generator(z))
    assert torch.equal(generator.mapping(z, truncation=0.0, cutoff=0), generator.mapping(z))
    assert not torch.allclose(generator(z, truncation=0.5), generator(z), atol=1e-3)
    assert torch.equal(generate(generator, 3, truncation=0.5), generate(generator, 3, truncation=0.5))


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_truncation_works_in_bfloat16(name):
    generator = REGISTRY.build("generator", name, TINY, DataSpec((3, 8, 8)))
    whole, reduced = (
        next(generate_batches(generator, 2, truncation=0.7, precision=precision))
        for precision in ("float32", "bfloat16")
    )
    assert reduced.dtype == torch.float32
    assert torch.allclose(whole, reduced, atol=0.1)


def test_a_style_acts_from_its_layer_on():
    generator = make()
    w = generator.mapping(torch.randn(1, 5))
    seen = []
    for layer in generator.layers:
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output.clone()))
    generator.synthesis(w)
    changed = w.clone()
    changed[:, 3] += 1
    generator.synthesis(changed)
    assert [torch.equal(seen[i], seen[6 + i]) for i in range(6)] == [True] * 3 + [False] * 3


def test_a_label_changes_the_styles_of_its_example():
    generator = make(CLASSES, conditioning="input")
    z = torch.randn(3, 5)
    one, other = (generator.mapping(z, torch.tensor(labels)) for labels in ([0, 1, 2], [0, 2, 2]))
    assert [torch.equal(*pair) for pair in zip(one, other, strict=True)] == [True, False, True]


# Noise.


def test_each_mode_of_noise_does_what_it_says():
    generator, silent = make(), make(noisy=False)
    z = torch.randn(3, 5)
    images = {noise: generator(z, noise=noise) for noise in ganforge.NOISE_MODES}
    assert torch.equal(images["fixed"], generator(z))
    assert not torch.equal(images["random"], generator(z, noise="random"))
    assert torch.equal(images["none"], silent(z))
    for half, layers in (("only-coarse", generator.layers[3:]), ("only-fine", generator.layers[:3])):
        assert not any(torch.equal(images[half], images[other]) for other in ("none", "fixed"))
        partly = make()
        for layer in partly.layers:
            if layer.noise.strength.tolist() in [each.noise.strength.tolist() for each in layers]:
                torch.nn.init.zeros_(layer.noise.strength)
        assert torch.equal(images[half], partly(z))
    for misspelt in ("const", ""):
        with pytest.raises(ValueError, match=f"noise={misspelt} is invalid"):
            generator(z, noise=misspelt)


def test_in_training_noise_is_random():
    generator = make(mixing=0.0).train()
    w = generator.mapping(torch.randn(1, 5))
    assert not torch.equal(generator.synthesis(w, "none"), generator.synthesis(w, "none"))


# Style mixing.


def styles_given(generator, z, labels=None):
    seen = []
    hooks = [layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1])) for layer in generator.layers]
    generator(z, labels)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen, 1)


def test_styles_are_mixed_from_a_layer_on_in_training_only():
    generator = make(DataSpec((3, 8, 8)), mixing=0.5)
    z = torch.randn(2000, 5)
    w = generator.mapping(z)
    assert torch.equal(styles_given(generator, z), w)
    own = (styles_given(generator.train(), z) == w).all(2)
    assert own[:, 0].all()
    assert not (own[:, 1:] & ~own[:, :-1]).any(), "what has gone over does not come back"
    crossovers = own.sum(1).bincount(minlength=5)  # 4 where nothing was mixed
    assert crossovers[4].item() / 2000 == pytest.approx(0.5, abs=0.05)
    assert (crossovers[1:4] / 1000 - 1 / 3).abs().max() < 0.07
    assert torch.equal(styles_given(make(DataSpec((3, 8, 8)), mixing=0.0).train(), z), w)


def test_all_styles_of_a_mixed_example_are_of_its_class():
    generator = make(CLASSES, conditioning="input", mixing=1.0).train()
    with torch.no_grad():  # only the class is left of what the network sees
        generator.mapper.layers[0].weight[:, :5] = 0
        generator.mapper.embedding.weight.copy_(torch.eye(3, 5))
    labels = torch.arange(30) % 3
    styles = styles_given(generator, torch.randn(30, 5), labels)
    assert torch.allclose(styles, styles[:3, :1].repeat(10, 4, 1), atol=1e-6)


# Training, saving, exporting.


def test_the_first_images_are_grey_at_every_stage():
    data = DataSpec((3, 32, 32))
    for growing in (False, True):
        torch.manual_seed(0)
        generator = StyleGANGenerator(data, growing=growing, start_resolution=8).eval()
        for images in generator.phases():
            generator.grow(images)
            with torch.no_grad():
                drawn = generator(torch.randn(16, generator.z_dim))
            assert drawn.std() < 0.4
            assert (drawn.abs() > 0.96).float().mean() < 0.01, "where the slope of a tanh is below 0.08"


def test_the_recipe_trains_with_r1_and_its_state_comes_back():
    config = resolve(REGISTRY, {"recipe": "stylegan", "generator": TINY, "discriminator": SMALL})
    assert (config.loss.name, config.regularizers[0].name) == ("nonsat", "r1")
    assert config.discriminator.options["minibatch"] == "deviation"
    data = DataSpec((3, 8, 8))
    state = build_state(config, REGISTRY, data, torch.device("cpu"))
    state.apply_schedules(config.optimizer)
    before = {name: value.clone() for name, value in state.tensors().items()}
    for index in range(2):
        z = torch.randn(8, 5)
        fake = state.generator(z)
        row = step_discriminator(state, [(Batch(torch.rand(8, 3, 8, 8), z), fake)], index)
        row |= step_generator(state, [(Batch(torch.rand(8, 3, 8, 8), z), fake)], index)
        assert all(value.isfinite() for value in row.values())
        assert ("discriminator/r1" in row) == (index == 0)
    after = state.tensors()
    rested = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in rested if name.startswith(("generator/", "discriminator/"))} == {
        f"generator/layers.{index}.noise.fixed" for index in range(4)
    }
    other = build_state(config, REGISTRY, data, torch.device("cpu"))
    other.load(after)
    z = torch.randn(2, 5)
    assert torch.equal(other.generator.eval()(z, truncation=0.5), state.generator.eval()(z, truncation=0.5))


def test_truncation_in_training_mode_does_not_disturb_the_gradient():
    generator = make().train()
    first = generator(torch.randn(2, 5), truncation=0.5)
    generator(torch.randn(2, 5))  # moves the mean on which the first depends
    first.sum().backward()
    assert all(each.grad is not None for each in generator.parameters() if each.requires_grad)


@pytest.mark.parametrize("conditioning", ["none", "input"])
def test_the_compiled_network_has_all_methods_and_arguments(conditioning):
    generator = make(CLASSES, conditioning=conditioning)
    scripted = script(make(CLASSES, conditioning=conditioning))
    z, labels = torch.randn(7, 5), torch.arange(7) % 3
    with torch.no_grad():
        for arguments in ({}, {"truncation": 0.4}, {"truncation": 0.4, "cutoff": 2}):
            assert torch.allclose(scripted(z, labels, **arguments), generator(z, labels, **arguments), atol=1e-5)
            w = generator.mapping(z, labels, **arguments)
            assert torch.allclose(scripted.mapping(z, labels, **arguments), w, atol=1e-5)
        for noise in ganforge.NOISE_MODES:
            images = []
            for network in (scripted, generator):
                torch.manual_seed(1)
                images += [network.synthesis(w, noise)]
                torch.manual_seed(1)
                images += [network(z, labels, 0.4, 2, noise)]
            assert all(torch.allclose(images[0], each, atol=1e-5) for each in images)
    with pytest.raises(torch.jit.Error, match="noise=const is invalid"):
        scripted(z, labels, noise="const")


def test_the_exported_file_is_proved_for_styles_and_noise_and_describes_them(tmp_path):
    card = {
        "generator": {"name": "stylegan", "options": {}},
        "data": {"shape": [3, 8, 8], "class_names": list(CLASSES.class_names)},
    }
    report = torchscript.TorchScriptExporter().export(make(CLASSES, conditioning="input"), card, tmp_path / "model.pt")
    # With and without labels, truncated and not; styles by kinds of noise; from seeds floats and pixels, and once more
    # with labels and by kinds of noise.
    assert report.num_examples == 2 * (1 + 7 + 64) + 7 * 5 + 2 * 2 * (1 + 7 + 64) + 2 * 7 + 7 * 5
    assert report.worst_difference <= torchscript.TOLERANCE
    texts = {"ganforge.json": ""}
    network = torch.jit.load(report.path, _extra_files=texts)
    about = json.loads(texts["ganforge.json"])
    assert list(about["inputs"]) == ["cutoff", "labels", "noise", "truncation", "z"]
    assert about["inputs"]["noise"]["values"] == list(ganforge.NOISE_MODES)
    assert about["methods"]["mapping"]["inputs"].keys() == {"z", "labels", "truncation", "cutoff"}
    assert about["methods"]["mapping"]["output"]["shape"] == ["N", 4, 6]
    assert about["methods"]["synthesis"]["inputs"].keys() == {"w", "noise"}
    w = network.mapping(torch.randn(2, 5), torch.tensor([0, 1]))
    assert network.synthesis(w, "none").shape == (2, 3, 8, 8)


def test_an_export_whose_noise_is_another_is_refused(tmp_path, monkeypatch):
    network = make(CLASSES)

    def run(content, calls, device):
        swapped = {"only-coarse": "only-fine", "only-fine": "only-coarse"}
        noises = [call.arguments.get("noise") for call in calls]
        swap = [
            verification.Call(call.method, {**call.arguments, "noise": swapped.get(noise, "none")}) if noise else call
            for call, noise in zip(calls, noises, strict=True)
        ]
        return [verification.run_call(network, call, DataSpec((3, 8, 8))) for call in swap]

    monkeypatch.setattr(verification, "_run", run)
    card = {"generator": {"name": "stylegan", "options": {}}, "data": {"shape": [3, 8, 8], "class_names": []}}
    with pytest.raises(ganforge.GanforgeError, match=r"differs from the original by .* with noise"):
        torchscript.TorchScriptExporter().export(network, card, tmp_path / "model.pt")
    assert not any(tmp_path.iterdir())


def test_a_run_resumes_bit_for_bit_and_samples_truncated(image_folder, tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    small = [f"generator.{name}={value}" for name, value in TINY.items()]
    small += [f"discriminator.{name}={value}" for name, value in SMALL.items()]
    settings = [part for each in small for part in ("--set", each)]
    train = ["train", "--arch", "stylegan", "--data", image_folder, "--device", "cpu", "--batch", 8, *settings]
    assert run(*train, "--images", 16, "--name", "run")[0] == 0
    assert run("train", "--resume", "--images", 32)[0] == 0
    assert run(*train, "--images", 32, "--name", "long")[0] == 0
    short, long = (tmp_path / f"runs/{name}/generator.safetensors" for name in ("00000-run", "00001-long"))
    assert short.read_bytes() == long.read_bytes()
    for psi in ("1", "0.5"):
        assert run("sample", "--count", 4, "--truncation", psi, "--to", f"{psi}.png")[0] == 0
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "0.5.png").read_bytes()
