"""Latent spaces of a generator: z, the input, and w, the styles."""

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

_BATCH = 64  # batch size of rendering

Label = int | Tensor | None  # class, condition vector ``[K]``, or none

Source = int | Tensor
"""A seed, or a latent without a batch dimension."""


class LatentSpace(ABC):
    """Latent space of a generator for one class or condition vector ``[K]``; latents ``[N, ...]`` support arithmetic.

    The generator is set to evaluation mode; the label is None for unlabeled data.
    """

    name: ClassVar[str]

    def __init__(self, generator: Generator, label: Label = None) -> None:
        self.generator = generator.eval()
        self.label = label

    @abstractmethod
    def from_z(self, z: Tensor) -> Tensor:
        """Map ``[N, z_dim]`` to latents ``[N, ...]`` of this space."""

    @abstractmethod
    def decode(self, latents: Tensor) -> Tensor:
        """Generate images ``[N, C, H, W]`` in [-1, 1] from latents ``[N, ...]``; differentiable."""

    @abstractmethod
    def free(self, latents: Tensor) -> Tensor:
        """Return the part of latents ``[N, ...]`` that a projection optimizes."""

    @abstractmethod
    def complete(self, latents: Tensor) -> Tensor:
        """Return latents from the result of `free`; differentiable."""

    @property
    def device(self) -> torch.device:
        """Device of the generator."""
        return next(self.generator.parameters()).device

    @torch.no_grad()
    def from_seeds(self, seeds: Sequence[int]) -> Tensor:
        """Return latents ``[N, ...]`` of seeds as in ``ganforge sample``, on the generator's device."""
        z = torch.cat([draw_latents(1, self.generator.z_dim, seed) for seed in seeds])
        return self.from_z(z.to(self.device))

    def latents(self, sources: Sequence[Source]) -> Tensor:
        """Return latents ``[N, ...]`` of seeds as `from_seeds`, and of given latents ``[...]``."""
        return torch.cat(
            [self.from_seeds([each]) if isinstance(each, int) else each[None].to(self.device) for each in sources]
        )

    @torch.no_grad()
    def render(self, latents: Tensor) -> Tensor:
        """Generate images, uint8 ``[N, C, H, W]`` on the CPU, from latents ``[N, ...]``."""
        return torch.cat([to_uint8(self.decode(chunk)).cpu() for chunk in torch.split(latents, _BATCH)])

    def labels(self, count: int) -> Tensor | None:
        """Return labels int64 ``[count]``, or float32 ``[count, K]``; None for unlabeled data."""
        if self.label is None:
            return None
        label = torch.as_tensor(self.label, device=self.device)
        return label.expand(count, *label.shape)


class ZSpace(LatentSpace):
    """Input space: latents ``[N, z_dim]`` from N(0, 1)."""

    name = "z"

    def from_z(self, z: Tensor) -> Tensor:
        return z

    def decode(self, latents: Tensor) -> Tensor:
        images: Tensor = self.generator(latents, self.labels(len(latents)))
        return images

    def free(self, latents: Tensor) -> Tensor:
        return latents

    def complete(self, latents: Tensor) -> Tensor:
        return latents


class WSpace(LatentSpace):
    """Space of styles (Karras 2019, arXiv:1812.04948): latents ``[N, L, w_dim]`` for L layers."""

    name = "w"

    def __init__(self, generator: StyleGenerator, label: Label = None) -> None:
        super().__init__(generator, label)
        self.styles = generator

    def from_z(self, z: Tensor) -> Tensor:
        return self.styles.mapping(z, self.labels(len(z)))

    def decode(self, latents: Tensor) -> Tensor:
        """Generate images with fixed noise."""
        return self.styles.synthesis(latents)

    def free(self, latents: Tensor) -> Tensor:
        """Return one style for all layers, ``[N, 1, w_dim]``: that of the first."""
        return latents[:, :1]

    def complete(self, latents: Tensor) -> Tensor:
        return latents.expand(-1, self.styles.num_styles, -1)


class WPlusSpace(WSpace):
    """Space of styles in which a projection optimizes one style per layer (Abdal 2019, arXiv:1904.03189)."""

    name = "w+"

    def free(self, latents: Tensor) -> Tensor:
        return latents

    def complete(self, latents: Tensor) -> Tensor:
        return latents


SPACES = ("z", "w", "w+")
"""Names of latent spaces."""


def open_space(
    generator: Generator, name: str | None = None, label: Label = None, registry: Registry | None = None
) -> LatentSpace:
    """Return a latent space of a generator, which is set to evaluation mode.

    Args:
        generator: Generator.
        name: One of `SPACES`; None for w if available.
        label: Class or condition vector ``[K]`` of all images; None for a generator of unlabeled data.
        registry: Registry for the hint of an error; None for none.
    """
    if name not in (*SPACES, None):
        raise OptionError(f"unknown latent space '{name}'", f"choose {', '.join(SPACES[:-1])} or {SPACES[-1]}")
    if name == "z" or (name is None and not isinstance(generator, StyleGenerator)):
        return ZSpace(generator, label)
    return (WPlusSpace if name == "w+" else WSpace)(require_styles(generator, registry), label)
