"""Generators of PyTorch-GAN are imported with equal images."""

import pytest
import torch
from torch import nn

import ganforge
from ganforge import CheckpointError, DataSpec
from ganforge.builtin.pytorch_gan import PyTorchGAN, UpsamplingGenerator
from ganforge.testing import check_generator, check_importer


class Connected(nn.Module):
    """Linear layers, batch norm of eps 0.8 after all but the first and the last, leaky ReLU 0.2, tanh."""

    def __init__(self, shape=(1, 6, 6)):
        super().__init__()
        self.shape = shape
        layers = [nn.Linear(5, 7), nn.LeakyReLU(0.2), nn.Linear(7, 9), nn.BatchNorm1d(9, 0.8), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, nn.Linear(9, torch.tensor(shape).prod()), nn.Tanh())

    def forward(self, z):
        return self.model(z).view(-1, *self.shape)


class Convolutional(nn.Module):
    """The DCGAN: dense layer, and two doublings with convolutions."""

    def __init__(self, colors=3, width=4, edge=2, first_norm=True):
        super().__init__()
        double, self.size = 2 * width, (2 * width, edge, edge)
        self.l1 = nn.Sequential(nn.Linear(5, double * edge**2))
        self.conv_blocks = nn.Sequential(
            *[nn.BatchNorm2d(double)] * first_norm, nn.Upsample(scale_factor=2), nn.Conv2d(double, double, 3, 1, 1),
            nn.BatchNorm2d(double, 0.8), nn.LeakyReLU(0.2), nn.Upsample(scale_factor=2),
            nn.Conv2d(double, width, 3, 1, 1), nn.BatchNorm2d(width, 0.8), nn.LeakyReLU(0.2),
            nn.Conv2d(width, colors, 3, 1, 1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z):
        return self.conv_blocks(self.l1(z).view(-1, *self.size))


def trained(network):
    torch.manual_seed(0)
    for each in network.modules():
        if isinstance(each, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (each.running_mean, each.weight.data, each.bias.data):
                tensor.normal_()
            each.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize(
    "make", [Connected, lambda: Connected((3, 4, 4)), Convolutional, lambda: Convolutional(first_norm=False)]
)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_imported_generator_gives_the_same_images(run, here, make, prefix):
    network = trained(make())
    torch.save({prefix + name: each for name, each in network.state_dict().items()}, "generator.pth")
    code, out, err = run("import", "generator.pth")
    assert code == 0, err
    z = torch.randn(4, 5)
    with torch.no_grad():
        assert torch.allclose(ganforge.load(here / out.strip())(z), network(z), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "change", "said"),
    [
        (Connected, {"model.5.weight": torch.zeros(35, 9)}, "35 outputs are no square image"),
        (Connected, {"model.2.weight": torch.zeros(9, 6)}, "model.2 does not follow the layer before it"),
        (Convolutional, {"l1.0.weight": torch.zeros(33, 5)}, "33 rows"),
        (Convolutional, {"conv_blocks.9.weight": torch.zeros(3)}, "no generator of PyTorch-GAN"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, network, change, said):
    torch.save({**network().state_dict(), **change}, tmp_path / "generator.pth")
    with pytest.raises(CheckpointError, match=said):
        PyTorchGAN().read(tmp_path / "generator.pth")


def test_the_parts_keep_the_contract(tmp_path):
    torch.save(trained(Convolutional()).state_dict(), tmp_path / "generator.pth")
    check_importer(PyTorchGAN, tmp_path / "generator.pth")
    check_generator(UpsamplingGenerator, DataSpec((3, 8, 8)), z_dim=4, width=2)
    with pytest.raises(ValueError, match="multiples of 4; use --resolution 32"):
        UpsamplingGenerator(DataSpec((3, 33, 30)))
