"""The spaces in which a generator can be explored: z, from which latents are drawn, and w, that of its styles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ganforge.contract.capabilities import StyleGenerator
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import Generator
from ganforge.core.images import to_uint8
from ganforge.explore.capabilities import require_styles
from ganforge.plugins.registry import Registry
from ganforge.sampling import draw_latents

_BATCH = 64
"""Images at once."""


class LatentSpace(ABC):
    """A space of latents of one generator, for one class.

    Latents ``[N, ...]`` of a space can be added and averaged, whatever their shape.

    Args:
        generator: It is put into evaluation mode.
        label: The class of all images; None for a generator of unlabelled data.
    """

    name: ClassVar[str]

    def __init__(self, generator: Generator, label: int | None = None) -> None:
        self.generator = generator.eval()
        self.label = label

    @abstractmethod
    def from_z(self, z: Tensor) -> Tensor:
        """This space's latents ``[N, ...]`` for latents ``[N, z_dim]``."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Images ``[N, C, H, W]`` in [-1, 1] of latents ``[N, ...]``; differentiable."""

    @abstractmethod
    def free(self, latents: Tensor) -> Tensor:
        """What of latents ``[N, ...]`` is sought when an image is projected."""

    @abstractmethod
    def complete(self, latents: Tensor) -> Tensor:
        """Latents from what `free` gives; differentiable."""

    @property
    def device(self) -> torch.device:
        """Where the generator computes."""
        return next(self.generator.parameters()).device

    @torch.no_grad()
    def from_seeds(self, seeds: Sequence[int]) -> Tensor:
        """Latents ``[N, ...]`` on the generator's device; the same seeds are those of ``ganforge sample``."""
        z = torch.cat([draw_latents(1, self.generator.z_dim, seed) for seed in seeds])
        return self.from_z(z.to(self.device))

    @torch.no_grad()
    def render(self, latents: Tensor) -> Tensor:
        """Images, uint8 ``[N, C, H, W]`` on the CPU, of latents ``[N, ...]``."""
        return torch.cat([to_uint8(self.decode(chunk)).cpu() for chunk in torch.split(latents, _BATCH)])

    def labels(self, count: int) -> Tensor | None:
        """The class, `count` times, int64 ``[count]``; None without classes."""
        return None if self.label is None else torch.full((count,), self.label, device=self.device)


class ZSpace(LatentSpace):
    """The space from which latents are drawn, N(0, 1): latents are ``[N, z_dim]``."""

    name = "z"

    def from_z(self, z: Tensor) -> Tensor:
        """The same."""
        return z

    def decode(self, latents: Tensor) -> Tensor:
        """What the generator makes of them."""
        images: Tensor = self.generator(latents, self.labels(len(latents)))
        return images

    def free(self, latents: Tensor) -> Tensor:
        """All of it."""
        return latents

    def complete(self, latents: Tensor) -> Tensor:
        """The same."""
        return latents


class WSpace(LatentSpace):
    """The space of styles (Karras 2019, arXiv:1812.04948): latents are ``[N, L, w_dim]``, one for each of L layers.

    Args:
        generator: It is put into evaluation mode.
        label: The class of all images; None for a generator of unlabelled data.
    """

    name = "w"

    def __init__(self, generator: StyleGenerator, label: int | None = None) -> None:
        super().__init__(generator, label)
        self.styles = generator

    def from_z(self, z: Tensor) -> Tensor:
        """What the mapping network makes of them, without truncation."""
        return self.styles.mapping(z, self.labels(len(z)))

    def decode(self, latents: Tensor) -> Tensor:
        """Images with fixed noise."""
        return self.styles.synthesis(latents)

    def free(self, latents: Tensor) -> Tensor:
        """One style for all layers, ``[N, 1, w_dim]``: that of the first."""
        return latents[:, :1]

    def complete(self, latents: Tensor) -> Tensor:
        """The style ``[N, 1, w_dim]`` for each layer."""
        return latents.expand(-1, self.styles.num_styles, -1)


def open_space(
    generator: Generator, name: str | None = None, label: int | None = None, registry: Registry | None = None
) -> LatentSpace:
    """A latent space of a generator.

    Args:
        generator: It is put into evaluation mode.
        name: ``z`` or ``w``; None for w where the generator has it.
        label: The class of all images; None for a generator of unlabelled data.
        registry: Where recipes with styles are looked up for the hint of an error; None to name none.

    Raises:
        OptionError: There is no such space, or w of a generator without styles.
    """
    if name not in ("z", "w", None):
        raise OptionError(f"there is no latent space '{name}'", "choose z or w")
    if name == "z" or (name is None and not isinstance(generator, StyleGenerator)):
        return ZSpace(generator, label)
    return WSpace(require_styles(generator, registry), label)
