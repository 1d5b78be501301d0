"""Interfaces of generators and discriminators."""

# No "from __future__ import annotations": TorchScript needs annotations as objects.
from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class Generator(nn.Module, ABC):
    """A network from latents to examples.

    The constructor is ``__init__(self, data: DataSpec, *, options...)`` and sets `z_dim`. A generator whose ``forward``
    takes ``truncation: float = 1.0`` supports truncation.
    """

    z_dim: int
    """Length of a latent vector; latents are drawn from N(0, 1)."""

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one example for each latent vector. Must be scriptable by TorchScript.

        Args:
            z: Latents ``[N, z_dim]``.
            labels: Classes ``[N]`` int64; vectors ``[N, K]`` float32; source images ``[N, *source_shape]`` in [-1, 1];
                or None.

        Returns:
            Images ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
        """


class Discriminator(nn.Module, ABC):
    """A network that judges examples. The constructor is ``__init__(self, data: DataSpec, *, options...)``.

    A discriminator of extra outputs (see `ExtraOutputs`) takes them as further arguments of ``forward``, or of
    ``features`` if it has features, such as ``small: Tensor | None = None``.
    """

    scales: tuple[tuple[int, float], ...] = ()
    """Groups of an example's logits, such as those of several scales: their number and their weight in the loss.

    The loss of each group is computed alone, and the weighted sum is trained. Empty for one group of weight 1.
    """

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits, not probabilities; higher is more real.

        Args:
            images: Examples ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
            labels: Classes ``[N]`` int64; vectors ``[N, K]`` float32; source images ``[N, *source_shape]`` in [-1, 1];
                or None.

        Returns:
            Logits ``[N]``; ``[N / m]`` for packs of m examples, ``[N * P]`` for P patches per example, in the order of
            the examples. With `scales`, P is the sum of their numbers.
        """


class FeatureDiscriminator(Discriminator):
    """A discriminator with access to its last hidden layer; `forward` is ``head(features)``."""

    @abstractmethod
    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the last hidden layer ``[N, F]``; arguments as `forward`."""

    @abstractmethod
    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N]`` from features ``[N, F]``."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.head(self.features(images, labels), labels)


class ClassifierDiscriminator(FeatureDiscriminator):
    """A discriminator that also predicts labels of examples, for the regularizer ``auxiliary``."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Return class logits ``[N, K]``, or predicted condition vectors ``[N, K]``, from features ``[N, F]``.

        Raises:
            OptionError: The network has no classifier.
        """

    def label_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the loss ``[]`` of predicted labels; by default the cross-entropy of classes ``[N]``."""
        return cross_entropy(self.classify(features), labels)
