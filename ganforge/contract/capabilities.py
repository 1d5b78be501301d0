"""Capabilities that a network declares by its base class."""

# No "from __future__ import annotations": TorchScript needs annotations as objects.
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from ganforge.contract.networks import Generator


class StyleGenerator(Generator):
    """A style-based generator: a mapping network turns latents into styles w, one per layer; a synthesis network draws.

    In training mode noise is always random, and `forward` may mix styles. TorchScript keeps both methods.
    """

    w_dim: int
    """Length of a style vector."""

    num_styles: int
    """Number L of layers with a style, from the coarsest to the finest."""

    @abstractmethod
    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        """Map latents to styles. Must be scriptable by TorchScript.

        Args:
            z: Latents ``[N, z_dim]``.
            labels: Classes ``[N]`` int64, or None.
            truncation: 1 for no truncation, 0 for the mean style.
            cutoff: Number of the coarsest layers to truncate; -1 for all.

        Returns:
            Styles ``[N, L, w_dim]``.
        """

    @abstractmethod
    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        """Generate images from styles. Must be scriptable by TorchScript.

        Args:
            w: Styles ``[N, L, w_dim]``.
            noise: ``random``, ``fixed`` (the same for every image and call), ``none``, or fixed in half of the layers
                only, ``only-coarse`` or ``only-fine``.

        Returns:
            Images ``[N, C, H, W]`` in [-1, 1].

        Raises:
            ValueError: Unknown `noise`.
        """

    def forward(
        self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1, noise: str = "fixed"
    ) -> Tensor:
        """Generate images ``[N, C, H, W]`` in [-1, 1] from latents; arguments as `mapping` and `synthesis`."""
        return self.synthesis(self.mapping(z, labels, truncation, cutoff), noise)


class ExtraOutputs(Generator):
    """A generator with extra outputs besides its examples, such as smaller images, masks or feature maps.

    In training, `Step.extras` and a discriminator that takes them get those of the same forward pass as the examples.
    """

    augment_extras: ClassVar[bool] = True
    """Augmentations transform extra outputs too, each with random numbers of its own; False for masks or features."""

    @abstractmethod
    def outputs(self, z: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """Generate examples, then floating-point extra outputs ``[N, ...]``. Must be scriptable by TorchScript.

        Arguments as for `forward`, which returns the first.
        """

    @abstractmethod
    def extras_of(self, images: Tensor, labels: Tensor | None = None) -> list[Tensor]:
        """Return the extra outputs that correspond to given examples, such as smaller copies of real images.

        Must be differentiable, and use no trained parameter.

        Args:
            images: Examples ``[N, ...]``, real ones or interpolates.
            labels: As for `forward`.

        Returns:
            Tensors of the shapes that `outputs` returns after the examples, in their order.
        """

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.outputs(z, labels)[0]


class Growing(ABC):
    """A network that starts at a low resolution and grows during training.

    It has all layers from the start and takes or returns full-size examples at every stage. Its buffers hold the stage.
    """

    @abstractmethod
    def phases(self) -> tuple[int, ...]:
        """Return the numbers of real images at which each phase begins: ascending, the first 0.

        Both networks of a run must have the same phases.
        """

    @abstractmethod
    def grow(self, images: int) -> None:
        """Set the stage after `images` real images; called on all networks before each step."""

    def coarsen(self, images: Tensor) -> Tensor:
        """Return real examples ``[N, ...]`` at the detail of the current stage."""
        return images


class Recomputable(ABC):
    """A network that supports activation checkpointing."""

    @abstractmethod
    def recomputable(self) -> list[nn.Module]:
        """Return the modules to recompute; ``forward`` may run twice per step, so it must not change buffers."""
