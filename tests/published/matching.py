"""Matching-aware conditional GAN (Reed and others 2016, arXiv:1605.05396): images from embeddings, such as of texts.

The condition is a vector of any length. The discriminator must also reject real images with the embedding of another.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganforge import (
    DataSpec,
    Discriminator,
    Generator,
    Recipe,
    Regularizer,
    StandardizeLabels,
    hookimpl,
    map_sizes,
    require_labels,
)


class Compression(nn.Module):
    """Linear layer on a standardized condition vector, and leaky ReLU."""

    def __init__(self, data: DataSpec, width: int) -> None:
        super().__init__()
        self.standardize = StandardizeLabels(data)
        self.layer = nn.Linear(len(data.numbers), width)

    def forward(self, labels: Tensor | None) -> Tensor:
        compressed: Tensor = self.layer(require_labels(self.standardize(labels)))
        return nn.functional.leaky_relu(compressed, 0.2)


class EmbeddingGenerator(Generator):
    """Transposed convolutions from noise and a compressed embedding.

    Args:
        data: Images with condition vectors.
        z_dim: Length of the noise.
        width: Channels of the largest maps, doubled at each smaller size.
        compressed: Length of the compressed embedding.
    """

    def __init__(self, data: DataSpec, *, z_dim: int = 100, width: int = 64, compressed: int = 128) -> None:
        super().__init__()
        self.z_dim = z_dim
        smallest, *others = map_sizes(data)
        channels = [width * 2 ** min(level, 3) for level in range(len(others))][::-1]
        self.compress = Compression(data, compressed)
        layers: list[nn.Module] = [nn.Linear(z_dim + compressed, channels[0] * math.prod(smallest))]
        layers.append(nn.Unflatten(1, (channels[0], *smallest)))
        for before, after in zip(channels, [*channels[1:], data.shape[0]], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.ConvTranspose2d(before, after, 4, 2, 1)]
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.layers(torch.cat([z, self.compress(labels)], 1))
        return images


class EmbeddingDiscriminator(Discriminator):
    """Strided convolutions; the compressed embedding is repeated over the smallest maps.

    Args:
        data: Images with condition vectors.
        width: Channels of the largest maps, doubled at each smaller size.
        compressed: Length of the compressed embedding.
    """

    def __init__(self, data: DataSpec, *, width: int = 64, compressed: int = 128) -> None:
        super().__init__()
        smallest, *others = map_sizes(data)
        channels = [data.shape[0], *(width * 2 ** min(level, 3) for level in range(len(others)))]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.LeakyReLU(0.2)]
        self.layers, self.compress = nn.Sequential(*layers), Compression(data, compressed)
        self.judge = nn.Sequential(
            nn.Conv2d(channels[-1] + compressed, channels[-1], 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels[-1], 1, smallest),
        )

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        maps = self.layers(images)
        embedding = self.compress(labels)[:, :, None, None].expand(-1, -1, *maps.shape[2:])
        return self.judge(torch.cat([maps, embedding], 1)).flatten()


class Matching(Regularizer):
    """Loss of real images with the embeddings of others (algorithm 1)."""

    weight = 0.5

    def discriminator(self, step):
        mismatched = step.compute(step.discriminator, step.images.real, step.labels.roll(1, 0))
        return softplus(mismatched).mean()


@hookimpl
def ganforge_generators():
    return {"embedding": EmbeddingGenerator}


@hookimpl
def ganforge_discriminators():
    return {"embedding": EmbeddingDiscriminator}


@hookimpl
def ganforge_regularizers():
    return {"matching": Matching}


@hookimpl
def ganforge_recipes():
    settings = {
        "generator": {"name": "embedding"},
        "discriminator": {"name": "embedding"},
        "loss": {"name": "nonsat"},
        "regularizers": {"matching": {}},
        "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
        "training": {"batch": 64},
    }
    return {"matching": Recipe(summary="Images from embeddings.", source="arXiv:1605.05396", settings=settings)}
