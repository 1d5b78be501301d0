import math

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu

import ganforge
from ganforge import Blur, DataSpec, Growing, ModulatedConv2d, OptionError, StyleGenerator
from ganforge.builtin.stylegan2 import StyleGAN2Discriminator, StyleGAN2Generator
from ganforge.config.schema import resolve
from ganforge.export import torchscript
from ganforge.export.scripting import script
from ganforge.plugins.registry import Registry
from ganforge.testing import check_discriminator, check_generator
from ganforge.training.state import build_state
from ganforge.training.steps import Batch, step_discriminator, step_generator

REGISTRY = Registry.installed()
IMAGES = DataSpec((3, 16, 16))
CLASSES = DataSpec((3, 8, 8), ("cat", "dog", "eel"))
SMALL = {"width": 4, "max_width": 8}
TINY = SMALL | {"z_dim": 5, "w_dim": 6, "mapping_layers": 2}


def make(data=IMAGES, *, noisy=True, **options):
    """A generator in evaluation mode as after some training: noise has strengths, w a mean, and there are biases."""
    torch.manual_seed(0)
    network = StyleGAN2Generator(data, **TINY, **options)
    with torch.no_grad():
        for layer in network.layers:
            layer.bias.normal_()
            if noisy:
                strengths = torch.linspace(-1, 1, len(layer.bias)).view(-1, 1, 1)
                layer.noise.strength.copy_(strengths / layer.noise.lr_multiplier)
        network.color.normal_()
        network.mapper.mean.normal_()
    return network.eval()


def outputs_of(modules, call):
    """Outputs of modules during a call."""
    seen = []
    hooks = [each.register_forward_hook(lambda module, inputs, output: seen.append(output.clone())) for each in modules]
    call()
    for hook in hooks:
        hook.remove()
    return seen


# The generator.


@pytest.mark.parametrize("resolution", [8, 16, 128])
def test_every_power_of_two_is_made_with_a_style_for_each_convolution_and_the_pixels_and_judged(resolution):
    data = DataSpec((3, resolution, resolution))
    generator = StyleGAN2Generator(data, **TINY)
    assert isinstance(generator, StyleGenerator)
    assert not isinstance(generator, Growing)
    assert generator.num_styles == 2 * (resolution.bit_length() - 2) == len(generator.layers) + 1
    images = generator(torch.randn(2, 5))
    assert images.shape == (2, 3, resolution, resolution)
    assert StyleGAN2Discriminator(data, **SMALL)(images).shape == (2,)


def test_at_1024_pixels_there_are_the_18_styles_of_the_paper():
    with torch.device("meta"):
        generator = StyleGAN2Generator(DataSpec((3, 1024, 1024)))
    assert generator.num_styles == 18
    assert [layer.noise.strength.shape[0] for layer in generator.layers][::2] == [512] * 4 + [256, 128, 64, 32, 16]
    assert [layer.noise.fixed.shape[-1] for layer in generator.layers][::2] == [2**k for k in range(2, 11)]


@pytest.mark.parametrize("conditioning", ["none", "input"])
def test_the_generator_passes_the_checks(conditioning):
    check_generator(StyleGAN2Generator, CLASSES, **TINY, conditioning=conditioning)


def test_a_layer_is_a_modulated_convolution_blur_noise_bias_and_a_leaky_relu_whose_gain_the_next_layer_has():
    generator = make()
    for index, size in ((0, 4), (1, 4), (2, 8)):
        layer = generator.layers[index]
        x, w = torch.randn(2, layer.convolution.affine.bias.shape[0], size, size), torch.randn(2, 6)
        maps = layer.convolution(x, w)
        maps = Blur()(maps) if index == 1 else maps
        maps = layer.noise(maps, "fixed") + layer.bias
        assert maps.shape[-1] == (8 if index == 1 else size)
        assert torch.allclose(layer(x, w, "fixed"), torch.where(maps > 0, maps, 0.2 * maps), atol=1e-6)
        following = generator.layers[index + 1].convolution
        w = torch.randn(2, 6)
        plain = ModulatedConv2d(
            x.shape[1], following.convolution.weight.shape[0], 3, 6, resample=following.convolution.resample
        )
        plain.load_state_dict(following.state_dict())
        assert torch.allclose(following(maps, w), math.sqrt(2) * plain(maps, w), rtol=1e-5, atol=1e-6)


def test_the_image_is_the_sum_of_the_pixels_of_all_sizes():
    generator = make()
    z = torch.randn(2, 5)
    pixels = outputs_of(generator.to_pixels, lambda: generator(z))
    assert [each.shape[-1] for each in pixels] == [4, 8, 16]
    total = pixels[0]
    for each in pixels[1:]:
        total = interpolate(total, scale_factor=2, mode="bilinear", align_corners=False) + each
    assert torch.allclose(generator(z), (total + generator.color).tanh(), atol=1e-5)


@pytest.mark.parametrize(
    ("style", "layer", "pixels"), [(0, 0, 0), (1, 1, 0), (2, 2, 1), (3, 3, 1), (4, 4, 2), (5, 5, 2)]
)
def test_a_style_acts_from_its_convolution_on_and_on_the_pixels_before_it(style, layer, pixels):
    generator = make()
    w = generator.mapping(torch.randn(1, 5))
    changed = w.clone()
    changed[:, style] += 1
    for modules, first in ((generator.layers, layer), (generator.to_pixels, pixels)):
        before = outputs_of(modules, lambda: generator.synthesis(w))
        after = outputs_of(modules, lambda: generator.synthesis(changed))
        same = [torch.equal(*pair) for pair in zip(before, after, strict=True)]
        assert same == [True] * first + [False] * (len(modules) - first)


def test_each_mode_of_noise_does_what_it_says():
    generator, silent = make(), make(noisy=False)
    z = torch.randn(3, 5)
    images = {noise: generator(z, noise=noise) for noise in ganforge.NOISE_MODES}
    assert torch.equal(images["fixed"], generator(z))
    assert not torch.equal(images["random"], generator(z, noise="random"))
    assert torch.equal(images["none"], silent(z))
    for half, quiet in (("only-coarse", slice(2, 5)), ("only-fine", slice(0, 2))):
        partly = make()
        for layer in partly.layers[quiet]:
            torch.nn.init.zeros_(layer.noise.strength)
        assert torch.equal(images[half], partly(z))
        assert not any(torch.equal(images[half], images[other]) for other in ("none", "fixed"))
    with pytest.raises(ValueError, match="noise=const is invalid"):
        generator(z, noise="const")
    training = make(mixing=0.0).train()
    w = training.mapping(z)
    assert not torch.equal(training.synthesis(w, "none"), training.synthesis(w, "none"))


def test_truncation_of_0_gives_one_image_and_a_cutoff_leaves_the_finer_layers():
    generator = make()
    z = torch.randn(3, 5)
    first, second, _ = generator(z, truncation=0.0, noise="none")
    assert torch.allclose(first, second, atol=1e-6)
    assert torch.equal(generator.mapping(z, truncation=0.0, cutoff=0), generator.mapping(z))
    assert not torch.equal(generator(z, truncation=0.5, cutoff=2), generator(z, truncation=0.5))


def test_styles_are_mixed_from_a_layer_on_in_training_only():
    generator = make(DataSpec((1, 8, 8)), mixing=0.5)
    z = torch.randn(1000, 5)
    w = generator.mapping(z)
    given = []
    synthesis = generator.synthesis
    generator.synthesis = lambda w, noise: given.append(w) or synthesis(w, noise)
    generator(z)
    generator.train()(z)
    assert torch.equal(given[0], w)
    own = (given[1] == w).all(2)
    assert own[:, 0].all()
    assert not (own[:, 1:] & ~own[:, :-1]).any(), "what has gone over does not come back"
    crossovers = own.sum(1).bincount(minlength=5) / 1000  # 4 where nothing was mixed
    # Shares of 1000 draws: five deviations are at most 5 sqrt(1/4 / 1000).
    assert crossovers[1:].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2], abs=0.08)


# The discriminator.


@pytest.mark.parametrize("conditioning", ["none", "input", "projection", "auxiliary", "joint"])
def test_the_discriminator_passes_the_checks(conditioning):
    check_discriminator(StyleGAN2Discriminator, CLASSES, **SMALL, conditioning=conditioning)


@pytest.mark.parametrize("minibatch", ["deviation", "discrimination"])
def test_the_discriminator_is_told_of_the_batch(minibatch):
    torch.manual_seed(0)
    network = StyleGAN2Discriminator(CLASSES, **SMALL, minibatch=minibatch)
    images = torch.randn(8, 3, 8, 8)
    assert not torch.isclose(network(images[:1].expand(8, 3, 8, 8))[0], network(images)[0])


def test_a_block_is_two_convolutions_beside_one_without_a_bias_each_halving_a_blurred_map():
    network = StyleGAN2Discriminator(DataSpec((1, 16, 16)), width=3).double()
    _, _, block, other = network.layers
    assert [parameter.shape[0] for parameter in other.parameters()] == [6, 6, 12, 12, 12]
    torch.manual_seed(0)
    for name, parameter in block.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    weights = dict(block.named_parameters())
    gain = math.sqrt(2 / 27)
    main = leaky_relu(conv2d(x, weights["main.0.weight"] * gain, weights["main.0.bias"], padding=1), 0.2)
    main = conv2d(Blur()(main), weights["main.3.weight"] * gain, weights["main.3.bias"], padding=1)
    main = leaky_relu(avg_pool2d(main, 2), 0.2)
    skip = avg_pool2d(conv2d(Blur()(x), weights["skip.1.weight"] / math.sqrt(3)), 2)
    assert torch.allclose(block(x), (main + skip) / math.sqrt(2))
    assert len(weights) == 5


@pytest.mark.parametrize(
    ("kind", "options", "data", "message"),
    [
        ("generator", {"mixing": 1.5}, (3, 32, 32), "mixing=1.5 must be at least 0 and at most 1"),
        ("generator", {"w_dim": 0}, (3, 32, 32), "w_dim=0 must be at least 1"),
        ("generator", {"conditioning": "input"}, (3, 32, 32), "needs labeled data"),
        ("discriminator", {}, (3, 500, 400), "--resolution 384x512"),
        ("discriminator", {}, (2,), "use --arch mlp"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(kind, options, data, message):
    with pytest.raises(OptionError, match=message):
        REGISTRY.build(kind, "stylegan2", options, DataSpec(data))


# Training, saving, exporting.


def take_step(state, index):
    torch.manual_seed(index)
    z, real = torch.randn(4, 5), torch.rand(4, 3, 8, 8)
    fake = state.generator(z)
    row = step_discriminator(state, [(Batch(real, z), fake)], index)
    return row | step_generator(state, [(Batch(real, z), fake)], index)


def test_the_recipe_trains_with_r1_and_path_lengths_and_goes_on_bit_for_bit():
    config = resolve(REGISTRY, {"recipe": "stylegan2", "generator": TINY, "discriminator": SMALL})
    assert config.discriminator.options["minibatch"] == "deviation"
    unbroken, resumed = (build_state(config, REGISTRY, DataSpec((3, 8, 8)), torch.device("cpu")) for _ in range(2))
    for state in (unbroken, resumed):
        state.apply_schedules(config.optimizer)
    before = {name: value.clone() for name, value in unbroken.tensors().items()}
    rows = [take_step(unbroken, index) for index in range(5)]
    assert ["generator/path-length" in row for row in rows] == [True, False, False, False, True]
    assert ["discriminator/r1" in row for row in rows] == [True, False, False, False, False]
    assert all(value.isfinite() for row in rows for value in row.values())
    after = {name: value.clone() for name, value in unbroken.tensors().items()}
    rested = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in rested if name.startswith(("generator/", "discriminator/"))} == {
        f"generator/layers.{index}.noise.fixed" for index in range(3)
    }
    resumed.load(after)
    for index in (8, 9):  # path lengths are due in the first of them
        expected, found = take_step(unbroken, index), take_step(resumed, index)
        assert all(torch.equal(expected[name], found[name]) for name in expected)
    tensors = resumed.tensors()
    assert all(torch.equal(value, tensors[name]) for name, value in unbroken.tensors().items())


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


def test_the_exported_file_is_proved_for_styles_and_noise(tmp_path):
    card = {
        "generator": {"name": "stylegan2", "options": {}},
        "data": {"shape": [3, 8, 8], "class_names": list(CLASSES.class_names)},
    }
    report = torchscript.TorchScriptExporter().export(make(CLASSES, conditioning="input"), card, tmp_path / "model.pt")
    assert report.worst_difference <= torchscript.TOLERANCE
    network = torch.jit.load(report.path)
    w = network.mapping(torch.randn(2, 5), torch.tensor([0, 1]))
    assert w.shape == (2, 4, 6)
    assert network.synthesis(w, "only-fine").shape == (2, 3, 8, 8)
