"""What only some networks can do, and declare by deriving from a class."""

# No "from __future__ import annotations": TorchScript reads the annotations in a generator's body, and not as text.
from abc import ABC, abstractmethod

from torch import Tensor, nn

from ganforge.contract.networks import Generator


class StyleGenerator(Generator):
    """A generator by styles: latents are mapped to w, one for each of its layers, from which the image is made.

    In training mode noise is always random, and a network may mix styles in `forward`. TorchScript keeps both methods,
    since `forward` calls them.
    """

    w_dim: int
    """Length of a style vector w."""

    num_styles: int
    """Number L of layers that take a style, from the coarsest to the finest."""

    @abstractmethod
    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        """The styles of latents. Must be scriptable by TorchScript.

        Args:
            z: Latents ``[N, z_dim]``.
            labels: Classes ``[N]`` int64, or None.
            truncation: 1 leaves styles as they are, 0 gives their mean.
            cutoff: So many of the coarsest layers are truncated; -1 for all.

        Returns:
            w ``[N, L, w_dim]``.
        """

    @abstractmethod
    def synthesis(self, w: Tensor, noise: str = "fixed") -> Tensor:
        """Images of styles. Must be scriptable by TorchScript.

        Args:
            w: Styles ``[N, L, w_dim]``.
            noise: ``random``, ``fixed`` (the same for every image and call), ``none``, or fixed and ``only-coarse`` or
                ``only-fine``: in that half of the layers alone.

        Returns:
            Images ``[N, C, H, W]`` in [-1, 1].

        Raises:
            ValueError: There is no such noise.
        """

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation: float = 1.0,
        cutoff: int = -1,
        noise: str = "fixed",
    ) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] of latents ``[N, z_dim]``: `synthesis` of `mapping`, which say more."""
        return self.synthesis(self.mapping(z, labels, truncation, cutoff), noise)


class Growing(ABC):
    """What a network offers besides that begins at a low resolution and grows while it trains.

    It is whole from the start, takes and gives examples of full size at every stage, and works on a part of itself. How
    far it has grown is kept in its buffers.
    """

    @abstractmethod
    def phases(self) -> tuple[int, ...]:
        """After how many real images each phase of growing begins: ascending, the first 0; in the last it is whole.

        Players whose phases differ are refused.
        """

    @abstractmethod
    def grow(self, images: int) -> None:
        """Set the stage that is due after so many real images; called on all networks of a run before each step."""

    def coarsen(self, images: Tensor) -> Tensor:
        """Real examples ``[N, ...]`` as they are to stand beside what a generator of this stage draws."""
        return images


class Recomputable(ABC):
    """A network that can do with less memory: parts of it may be computed a second time when gradients are wanted."""

    @abstractmethod
    def recomputable(self) -> list[nn.Module]:
        """The parts, each with a ``forward`` that changes no buffers: it may be run twice for one step."""
