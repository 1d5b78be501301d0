"""DCGAN (Radford, Metz and Chintala 2016, arXiv:1511.06434) for images of up to 256 pixels."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganforge import (
    ConditionalBatchNorm2d,
    ConditionalDiscriminator,
    ConditionalSequential,
    DataSpec,
    Discriminator,
    Generator,
    MinibatchStatistics,
    Recipe,
    StandardizeLabels,
    UpsampledConv2d,
    hookimpl,
    join_labels,
    label_dim,
    make_minibatch_statistics,
    map_sizes,
)
from ganforge.builtin.channels import channels_by_size


def _channels(data: DataSpec, width: int, max_width: int) -> list[int]:
    """Return channels of hidden maps from half the resolution down to the smallest."""
    return channels_by_size(data, width, max_width, largest=256)[:-1]


def _normalize(kind: str, channels: int) -> list[nn.Module]:
    """Return the layer that normalizes ``[N, C, H, W]``; layer norm is a group norm with one group."""
    if kind in ("none", "spectral"):
        return []
    return [nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(1, channels)]


def _initialize(network: nn.Module) -> None:
    """Initialize convolutions with N(0, 0.02), scales of batch norm with N(1, 0.02), biases with 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, ConditionalBatchNorm2d):
            nn.init.normal_(module.scale.weight, 1.0, 0.02)


class DCGANGenerator(Generator):
    """Fractionally strided 4x4 convolutions from one pixel to the image; batch norm and ReLU, then tanh.

    Latents are normal; the paper draws them uniformly.

    Args:
        data: Shape of an image: any number of channels, a size that `map_sizes` takes, up to 256 pixels.
        z_dim: Length of a latent vector.
        width: Channels of the largest hidden map (half the resolution), doubled at each smaller size.
        max_width: Maximum number of channels.
        upsampling: ``transposed`` as in the paper, or ``nearest``: upsample and convolve 3x3.
        conditioning: Conditioning: none, labels joined to latents, or conditional batch norm.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 100,
        width: int = 64,
        max_width: int = 1024,
        upsampling: Literal["transposed", "nearest"] = "transposed",
        conditioning: Literal["none", "input", "norm"] = "none",
    ) -> None:
        super().__init__()
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        self.z_dim = z_dim
        sizes = _channels(data, width, max_width)[::-1]
        self.label_dim = label_dim(data, conditioning)
        self.standardize = StandardizeLabels(data)

        def normalize(channels: int) -> nn.Module:
            if conditioning == "norm":
                return ConditionalBatchNorm2d(channels, data.num_classes)
            return nn.BatchNorm2d(channels)

        layers: list[nn.Module] = [
            nn.ConvTranspose2d(z_dim + self.label_dim, sizes[0], map_sizes(data)[0], bias=False),
            normalize(sizes[0]),
            nn.ReLU(),
        ]
        for channels_in, channels_out in pairwise(sizes):
            layers += [*self._double(channels_in, channels_out, upsampling, bias=False), normalize(channels_out)]
            layers.append(nn.ReLU())
        layers += [*self._double(sizes[-1], data.shape[0], upsampling, bias=True), nn.Tanh()]
        self.layers = ConditionalSequential(*layers)
        _initialize(self)

    @staticmethod
    def _double(channels_in: int, channels_out: int, upsampling: str, *, bias: bool) -> list[nn.Module]:
        if upsampling == "nearest":
            # The identity keeps the names of weights of files that were written before the two layers became one.
            return [nn.Identity(), UpsampledConv2d(channels_in, channels_out, bias=bias)]
        return [nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias)]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        joined = join_labels(z, self.standardize(labels), self.label_dim, strength=self.z_dim**0.5)
        images: Tensor = self.layers(joined[:, :, None, None], labels)
        return images


class DCGANDiscriminator(ConditionalDiscriminator):
    """Strided 4x4 convolutions down to the smallest maps and one logit; leaky ReLU 0.2, batch norm except at the input.

    Args:
        data: Shape of an image: any number of channels, a size that `map_sizes` takes, up to 256 pixels.
        width: Channels of the first hidden map (half the resolution), doubled at each smaller size.
        max_width: Maximum number of channels.
        normalization: ``batch`` as in the paper; ``layer`` or ``none`` for gradient penalties; ``spectral`` norm of the
            weights (Miyato 2018, arXiv:1802.05957).
        conditioning: Conditioning: none, labels as maps beside the image, projection, auxiliary or joint
            classifier.
        minibatch: Minibatch statistics: none, deviation, or discrimination.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        width: int = 64,
        max_width: int = 1024,
        normalization: Literal["batch", "layer", "spectral", "none"] = "batch",
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint"] = "none",
        minibatch: MinibatchStatistics = "none",
    ) -> None:
        sizes = _channels(data, width, max_width)
        height, wide = self.smallest = map_sizes(data)[0]
        super().__init__(data, conditioning, sizes[-1] * height * wide, minibatch)
        channels = data.shape[0] + self.label_dim
        layers: list[nn.Module] = [nn.Conv2d(channels, sizes[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        bias = normalization in ("none", "spectral")
        for channels_in, channels_out in pairwise(sizes):
            layers.append(nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=bias))
            layers += _normalize(normalization, channels_out)
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.minibatch = make_minibatch_statistics(minibatch, sizes[-1] * height * wide)
        if not self.joint:
            num_statistics = self.minibatch.num_statistics if self.minibatch else 0
            self.judge = nn.Conv2d(sizes[-1] + num_statistics, 1, self.smallest)
        _initialize(self)
        if normalization == "spectral":
            for module in [each for each in self.modules() if isinstance(each, nn.Conv2d)]:
                spectral_norm(module)

    def hidden(self, examples: Tensor) -> Tensor:
        maps: Tensor = self.layers(examples)
        return maps.flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        maps = features.view(len(features), -1, *self.smallest)
        if self.minibatch is not None:
            statistics = self.minibatch(features)[:, :, None, None]
            maps = torch.cat([maps, statistics.expand(-1, -1, *self.smallest)], dim=1)
        logits: Tensor = self.judge(maps)
        return logits.flatten()


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"dcgan": DCGANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"dcgan": DCGANDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "dcgan": Recipe(
            summary="Convolutional networks as in the DCGAN paper.",
            source="Radford, Metz and Chintala 2016, Unsupervised Representation Learning ..., arXiv:1511.06434",
            settings={
                "generator": {"name": "dcgan"},
                "discriminator": {"name": "dcgan"},
                "loss": {"name": "nonsat"},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 128},
            },
            variants={"cpu": {"training": {"batch": 16}}},
        ),
    }
