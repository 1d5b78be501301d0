"""Interfaces of generators and discriminators."""

# No "from __future__ import annotations": TorchScript reads the annotations in a generator's body, and not as text.
from abc import ABC, abstractmethod

from torch import Tensor, nn


class Generator(nn.Module, ABC):
    """A network from latent vectors to examples.

    The constructor is ``__init__(self, data: DataSpec, *, options...)`` and sets `z_dim`. What is more than the plain
    forward is declared by an argument: one whose ``forward`` takes ``truncation: float = 1.0`` can be truncated.
    """

    z_dim: int
    """Length of a latent vector; latents are drawn from N(0, 1)."""

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one example for each latent vector. Must be scriptable by TorchScript.

        Args:
            z: Latents ``[N, z_dim]``.
            labels: Classes ``[N]`` int64; or, of data in pairs, the sources ``[N, *source_shape]`` in [-1, 1]; or None.

        Returns:
            Images ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
        """


class Discriminator(nn.Module, ABC):
    """A network that judges examples. The constructor is ``__init__(self, data: DataSpec, *, options...)``."""

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge examples: logits, never probabilities; higher is more real.

        Args:
            images: Examples ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
            labels: Classes ``[N]`` int64; or, of data in pairs, the sources ``[N, *source_shape]`` in [-1, 1]; or None.

        Returns:
            Logits ``[N]``; a network that judges packs of m examples at once returns ``[N / m]``, one that judges each
            of P patches of an example ``[N * P]``.
        """


class FeatureDiscriminator(Discriminator):
    """A discriminator whose last hidden layer can be asked for; `forward` is ``head(features)``."""

    @abstractmethod
    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden layer ``[N, F]`` for the arguments of `forward`."""

    @abstractmethod
    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[N]`` from features ``[N, F]``."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge examples; see `Discriminator.forward`."""
        return self.head(self.features(images, labels), labels)


class ClassifierDiscriminator(FeatureDiscriminator):
    """A discriminator that also tells classes apart, as the regulariser ``auxiliary`` asks for."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Scores ``[N, K]`` of the K classes from features ``[N, F]``; their softmax is P(class | example).

        Raises:
            OptionError: The network was made without a classifier.
        """
