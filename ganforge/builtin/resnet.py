"""Residual generator (Miyato 2018, arXiv:1802.05957, appendix B.4) for images of up to 256 pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from ganforge import (
    ConditionalBatchNorm2d,
    ConditionalSequential,
    DataSpec,
    Generator,
    Recipe,
    RepeatPixels,
    StandardizeLabels,
    UpsampledConv2d,
    hookimpl,
    join_labels,
    label_dim,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size


class _Block(nn.Module):
    """Twice the size: batch norm, ReLU, and a 3x3 convolution, two times, beside a 1x1 convolution."""

    def __init__(self, channels_in: int, channels_out: int, num_classes: int) -> None:
        super().__init__()
        self.takes_labels = True
        self.main = ConditionalSequential(
            *_activate(channels_in, num_classes),
            nn.Identity(),  # keeps the names of weights of files that were written before two layers became one
            UpsampledConv2d(channels_in, channels_out, bias=False),
            *_activate(channels_out, num_classes),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        )
        self.skip = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), RepeatPixels())

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        summed: Tensor = self.main(x, labels) + self.skip(x)
        return summed


def _activate(channels: int, num_classes: int) -> list[nn.Module]:
    """Return batch norm, of each class if there are classes, and ReLU."""
    if not num_classes:
        return [nn.BatchNorm2d(channels), nn.ReLU()]
    norm = ConditionalBatchNorm2d(channels, num_classes)
    nn.init.normal_(norm.scale.weight, 1.0, 0.02)  # classes differ from the start
    return [norm, nn.ReLU()]


class ResidualGenerator(Generator):
    """Residual blocks that double the size, up to half the resolution; then batch norm, ReLU, convolution and tanh.

    The paper has blocks up to the full size, whose maps take most of the time.

    Args:
        data: Shape of an image: any number of channels, a size that `map_sizes` takes, up to 256 pixels.
        z_dim: Length of a latent vector.
        width: Channels of the largest hidden map (half the resolution), doubled at each smaller size.
        max_width: Maximum number of channels.
        conditioning: Conditioning: none, labels joined to latents, or conditional batch norm.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 100,
        width: int = 64,
        max_width: int = 512,
        conditioning: Literal["none", "input", "norm"] = "none",
    ) -> None:
        super().__init__()
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        self.z_dim = z_dim
        self.label_dim = label_dim(data, conditioning)
        self.standardize = StandardizeLabels(data)
        self.smallest = map_sizes(data)[0]
        num_classes = data.num_classes if conditioning == "norm" else 0
        sizes = channels_by_size(data, width, max_width, largest=256)[-2::-1]
        self.first = nn.Linear(z_dim + self.label_dim, sizes[0] * self.smallest[0] * self.smallest[1])
        self.layers = ConditionalSequential(
            *(_Block(channels_in, channels_out, num_classes) for channels_in, channels_out in pairwise(sizes)),
            *_activate(sizes[-1], num_classes),
            nn.Identity(),
            UpsampledConv2d(sizes[-1], data.shape[0]),
            nn.Tanh(),
        )
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                nn.init.normal_(module.weight, 0.0, module.weight[0].numel() ** -0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        joined = join_labels(z, self.standardize(labels), self.label_dim, strength=self.z_dim**0.5)
        maps = self.first(joined).unflatten(1, (-1, self.smallest[0], self.smallest[1]))
        images: Tensor = self.layers(maps, labels)
        return images


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"resnet": ResidualGenerator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    penalty = {"weight": 1.0, "every": 4}
    return {
        "rpgan": Recipe(
            summary="The default: a residual generator, a discriminator without normalization, and R3GAN's loss.",
            source="Huang, Gokaslan, Kuleshov and Tompkin 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441",
            settings={
                "generator": {"name": "resnet"},
                "discriminator": {"name": "dcgan", "normalization": "none"},
                "loss": {"name": "rpgan"},
                "regularizers": {"r1": penalty, "r2": penalty},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.0, "beta2": 0.999},
                "training": {"batch": 64},
            },
            variants={
                "few": {"augmentations": {"ada": {}}},
                # Steps count there, not images: narrow networks, small batches and high rates.
                "cpu": {
                    "generator": {"width": 32, "max_width": 256},
                    "discriminator": {"width": 32, "max_width": 256},
                    "optimizer": {"generator_lr": 1e-3, "discriminator_lr": 5e-4},
                    "training": {"batch": 16},
                },
            },
        ),
    }
