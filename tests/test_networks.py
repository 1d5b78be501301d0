import math

import pytest
import torch
from torch import nn

from ganforge import DataSpec, OptionError, StandardizeLabels
from ganforge.builtin.dcgan import DCGANDiscriminator, DCGANGenerator
from ganforge.builtin.mlp import MLPDiscriminator, MLPGenerator
from ganforge.plugins.registry import Registry

SIZES = [8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize("resolution", SIZES)
@pytest.mark.parametrize("upsampling", ["transposed", "nearest"])
def test_dcgan_makes_and_judges_every_power_of_two(resolution, upsampling):
    data = DataSpec((3, resolution, resolution))
    generator = DCGANGenerator(data, width=4, max_width=16, z_dim=7, upsampling=upsampling)
    images = generator(torch.randn(2, 7))
    assert images.shape == (2, 3, resolution, resolution)
    assert DCGANDiscriminator(data, width=4, max_width=16)(images).shape == (2,)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_dcgan_takes_one_to_four_channels(channels):
    data = DataSpec((channels, 16, 16))
    images = DCGANGenerator(data, width=4)(torch.randn(2, 100))
    assert images.shape == (2, channels, 16, 16)
    assert DCGANDiscriminator(data, width=4)(images).shape == (2,)


def kinds(network):
    leaves = [type(module) for module in network.modules() if not list(module.children())]
    return [each for each in leaves if each is not StandardizeLabels]  # it has no labels here


def test_the_dcgan_generator_is_built_as_the_paper_says():
    generator = DCGANGenerator(DataSpec((3, 64, 64)), width=128)
    convolutions = [module for module in generator.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert [module.out_channels for module in convolutions] == [1024, 512, 256, 128, 3]
    assert all(module.kernel_size == (4, 4) for module in convolutions)
    assert [module.stride for module in convolutions] == [(1, 1)] + [(2, 2)] * 4
    block = [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU]
    assert kinds(generator) == block * 4 + [nn.ConvTranspose2d, nn.Tanh]


def test_the_dcgan_discriminator_is_built_as_the_paper_says():
    discriminator = DCGANDiscriminator(DataSpec((3, 64, 64)))
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [64, 128, 256, 512, 1]
    assert [module.stride for module in convolutions] == [(2, 2)] * 4 + [(1, 1)]
    block = [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    assert kinds(discriminator) == [nn.Conv2d, nn.LeakyReLU] + block * 3 + [nn.Conv2d]
    assert {module.negative_slope for module in discriminator.modules() if isinstance(module, nn.LeakyReLU)} == {0.2}
    assert nn.BatchNorm2d not in kinds(DCGANDiscriminator(DataSpec((3, 64, 64)), normalization="none"))


@pytest.mark.parametrize("factory", [DCGANGenerator, DCGANDiscriminator])
def test_dcgan_weights_start_as_the_paper_says(factory):
    torch.manual_seed(0)
    network = factory(DataSpec((3, 64, 64)))
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            count = module.weight.numel()
            # Mean and deviation of N(0, 0.02) within five standard errors.
            assert abs(module.weight.mean().item()) < 5 * 0.02 / math.sqrt(count)
            assert abs(module.weight.std().item() - 0.02) < 5 * 0.02 / math.sqrt(2 * count)


def test_spectral_normalisation_brings_every_weight_to_a_largest_singular_value_of_one():
    torch.manual_seed(0)
    discriminator = DCGANDiscriminator(DataSpec((3, 16, 16)), width=4, normalization="spectral").train()
    assert nn.BatchNorm2d not in kinds(discriminator)
    convolutions = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
    for _ in range(200):  # each pass refines the estimate by one power iteration
        discriminator(torch.randn(2, 3, 16, 16))
    for module in convolutions:
        largest = torch.linalg.svdvals(module.weight.detach().double().flatten(1))[0]
        assert largest.item() == pytest.approx(1.0, rel=1e-4)


def test_layer_normalisation_is_over_all_of_an_example():
    discriminator = DCGANDiscriminator(DataSpec((3, 16, 16)), width=4, normalization="layer")
    (norm,) = [module for module in discriminator.modules() if isinstance(module, nn.GroupNorm)]
    maps = torch.randn(5, 8, 4, 4, dtype=torch.float64) * 3 + 1
    flat = maps.flatten(1)
    expected = (flat - flat.mean(1, keepdim=True)) / (flat.var(1, unbiased=False, keepdim=True) + norm.eps).sqrt()
    assert torch.allclose(nn.functional.group_norm(maps, norm.num_groups), expected.view_as(maps))


def test_the_dcgan_recipe_holds_the_numbers_of_the_paper():
    from ganforge.config.schema import resolve

    config = resolve(Registry.installed(), {"recipe": "dcgan"})
    assert [(each.name, each.lr.plain()) for each in config.optimizer.values()] == [("adam", 2e-4)] * 2
    assert all(each.part.group(0) == {"betas": (0.5, 0.999)} for each in config.optimizer.values())
    assert config.generator.options["z_dim"] == 100
    assert Registry.installed().part("recipe", "dcgan").factory.settings["training"]["batch"] == 128


@pytest.mark.parametrize(
    ("shape", "nearest"), [((1, 29, 29), "28"), ((3, 100, 100), "96"), ((3, 500, 400), "192x256"), ((3, 4, 4), "6")]
)
def test_dcgan_names_the_nearest_resolution(shape, nearest):
    with pytest.raises(OptionError, match=f"--resolution {nearest}$"):
        Registry.installed().build("generator", "dcgan", {}, DataSpec(shape))


@pytest.mark.parametrize(
    ("kind", "name", "options", "data", "message"),
    [
        ("generator", "dcgan", {"width": 0}, (3, 32, 32), "width=0 must be at least 1"),
        ("generator", "dcgan", {"z_dim": 0}, (3, 32, 32), "z_dim=0 must be at least 1"),
        ("discriminator", "dcgan", {"max_width": -4}, (3, 32, 32), "max_width=-4 must be at least 1"),
        ("generator", "dcgan", {}, (2,), "use --arch mlp"),
        ("generator", "mlp", {"hidden": ()}, (2,), "one or more sizes"),
        ("generator", "mlp", {"z_dim": -1}, (2,), "z_dim=-1"),
        ("discriminator", "mlp", {"hidden": (8, 0)}, (2,), "hidden=8,0"),
        ("discriminator", "mlp", {"dropout": 1.0}, (2,), "dropout=1.0 must be at least 0 and below 1"),
    ],
)
def test_options_out_of_range_are_refused_in_words(kind, name, options, data, message):
    with pytest.raises(OptionError, match=message) as error:
        Registry.installed().build(kind, name, options, DataSpec(data))
    assert f"{kind} '{name}'" in error.value.message


@pytest.mark.parametrize("shape", [(1,), (2,), (3, 28, 20), (1, 8, 8)])
def test_mlp_takes_images_of_any_shape_and_vectors(shape):
    data = DataSpec(shape)
    generator = MLPGenerator(data, z_dim=3, hidden=(8, 8))
    examples = generator(torch.randn(5, 3))
    assert examples.shape == (5, *shape)
    assert MLPDiscriminator(data, hidden=(8,))(examples).shape == (5,)


def test_mlp_vectors_are_not_bounded_and_images_are():
    with torch.no_grad():
        far = torch.randn(64, 3) * 1000
        assert MLPGenerator(DataSpec((2,)), z_dim=3)(far).abs().max() > 1
        assert MLPGenerator(DataSpec((1, 8, 8)), z_dim=3)(far).abs().max() <= 1


def test_mlp_drops_units_on_images_only_unless_told():
    def has_dropout(shape, **options):
        return nn.Dropout in kinds(MLPDiscriminator(DataSpec(shape), **options))

    assert has_dropout((1, 8, 8))
    assert not has_dropout((2,))
    assert has_dropout((2,), dropout=0.5)
    assert not has_dropout((1, 8, 8), dropout=0.0)
