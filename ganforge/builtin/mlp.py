"""Fully connected GAN (Goodfellow et al. 2014, arXiv:1406.2661) for images and vectors."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ganforge import (
    ConditionalDiscriminator,
    DataSpec,
    Discriminator,
    Generator,
    MinibatchStatistics,
    Recipe,
    StandardizeLabels,
    hookimpl,
    join_labels,
    label_dim,
    make_minibatch_statistics,
)


def _hidden_layers(sizes: tuple[int, ...], dropout: float = 0.0) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers += [nn.Linear(size_in, size_out), nn.LeakyReLU(0.2)]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
    return layers


def _check_hidden(hidden: tuple[int, ...]) -> None:
    if not hidden or min(hidden) < 1:
        raise ValueError(
            f"hidden={','.join(map(str, hidden))} must be one or more sizes of at least 1, such as 256,512"
        )


class MLPGenerator(Generator):
    """Fully connected generator (Goodfellow et al. 2014); tanh on images and signals, linear on vectors.

    Args:
        data: Shape of an example.
        z_dim: Length of a latent vector.
        hidden: Sizes of the hidden layers.
        conditioning: Conditioning: none, or labels joined to latents.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        z_dim: int = 100,
        hidden: tuple[int, ...] = (256, 512, 1024),
        conditioning: Literal["none", "input"] = "none",
    ) -> None:
        super().__init__()
        _check_hidden(hidden)
        if z_dim < 1:
            raise ValueError(f"z_dim={z_dim} must be at least 1")
        self.z_dim = z_dim
        self.shape = list(data.shape)
        self.label_dim = label_dim(data, conditioning)
        self.standardize = StandardizeLabels(data)
        layers = [*_hidden_layers((z_dim + self.label_dim, *hidden)), nn.Linear(hidden[-1], math.prod(data.shape))]
        self.layers = nn.Sequential(*layers, *([nn.Tanh()] if len(data.shape) > 1 else []))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        examples: Tensor = self.layers(
            join_labels(z, self.standardize(labels), self.label_dim, strength=self.z_dim**0.5)
        )
        return examples.view([-1] + self.shape)  # noqa: RUF005 - TorchScript has no unpacking


class MLPDiscriminator(ConditionalDiscriminator):
    """Fully connected discriminator with dropout (Goodfellow et al. 2014, with leaky ReLU for maxout).

    Args:
        data: Shape of an example.
        hidden: Sizes of the hidden layers.
        dropout: Dropout probability of hidden units, in [0, 1); none: 0.3 for images and signals, 0 for vectors.
        conditioning: Conditioning: none, labels joined to examples, projection, auxiliary or joint classifier.
        minibatch: Minibatch statistics: none, deviation, or discrimination.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        hidden: tuple[int, ...] = (1024, 512, 256),
        dropout: float | None = None,
        conditioning: Literal["none", "input", "projection", "auxiliary", "joint"] = "none",
        minibatch: MinibatchStatistics = "none",
    ) -> None:
        _check_hidden(hidden)
        super().__init__(data, conditioning, hidden[-1], minibatch)
        if dropout is None:
            dropout = 0.3 if len(data.shape) > 1 else 0.0
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must be at least 0 and below 1")
        num_inputs = math.prod(data.shape) + self.label_dim
        self.layers = nn.Sequential(nn.Flatten(), *_hidden_layers((num_inputs, *hidden), dropout))
        self.minibatch = make_minibatch_statistics(minibatch, hidden[-1])
        if not self.joint:
            self.judge = nn.Linear(hidden[-1] + (self.minibatch.num_statistics if self.minibatch else 0), 1)

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        numbers = images.flatten(1)
        return self.hidden(
            join_labels(numbers, self.standardize(labels), self.label_dim, strength=numbers.shape[1] ** 0.5)
        )

    def hidden(self, examples: Tensor) -> Tensor:
        features: Tensor = self.layers(examples)
        return features

    def logits(self, features: Tensor) -> Tensor:
        if self.minibatch is not None:
            features = torch.cat([features, self.minibatch(features)], dim=1)
        logits: Tensor = self.judge(features)
        return logits.squeeze(1)


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    return {"mlp": MLPGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    return {"mlp": MLPDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "mlp": Recipe(
            summary="Fully connected networks, the GAN of 2014.",
            source="Goodfellow et al. 2014, Generative Adversarial Nets, arXiv:1406.2661",
            settings={
                "generator": {"name": "mlp"},
                "discriminator": {"name": "mlp"},
                "loss": {"name": "nonsat"},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 128},
            },
        )
    }
