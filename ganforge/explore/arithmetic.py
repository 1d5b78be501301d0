"""Latent arithmetic: mean(A) - mean(B) + mean(C)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.explore.mixing import direction_in_layers
from ganforge.explore.spaces import LatentSpace, Source, WSpace


@dataclass(frozen=True)
class Arithmetic:
    """Result of A - B + C: the direction with the shape of one latent, and images uint8.

    Attributes:
        direction: Direction A - B, scaled and limited to layers.
        exemplars: Images ``[n, C, H, W]`` of A, B and C.
        means: Images ``[3, C, H, W]`` of the mean latents.
        moved: Images ``[n, C, H, W]`` of C, moved in the direction.
        result: Image ``[C, H, W]`` of the mean of C, moved.
    """

    direction: Tensor
    exemplars: tuple[Tensor, Tensor, Tensor]
    means: Tensor
    moved: Tensor
    result: Tensor

    def rows(self) -> list[list[Tensor | None]]:
        """Return a table: A, B, C and C moved; the last column shows means."""
        shown = [*self.exemplars, self.moved]
        width = max(map(len, shown))
        means = [*self.means, self.result]
        return [[*images, *[None] * (width - len(images)), mean] for images, mean in zip(shown, means, strict=True)]


def calculate(
    space: LatentSpace,
    a: Sequence[Source],
    b: Sequence[Source],
    c: Sequence[Source],
    *,
    means: tuple[Tensor, Tensor] | None = None,
    strength: float = 1.0,
    layers: range | None = None,
) -> Arithmetic:
    """Compute ``mean(A) - mean(B) + mean(C)`` (Radford 2016, arXiv:1511.06434, section 6.3.2).

    Args:
        space: Latent space.
        a: Seeds or latents of images with a feature.
        b: Those of images without it.
        c: Those of images that receive it.
        means: Mean latents of A and B; None for those of the sources.
        strength: Factor of the direction ``mean(A) - mean(B)``.
        layers: Layers that receive the direction, from `read_layers`; None for all. Only in w.
    """
    if layers is not None and not isinstance(space, WSpace):
        raise OptionError(f"latents in {space.name} have no layers", "use w, or omit the layers")
    latents = [space.latents(sources) for sources in (a, b, c)]
    mean_a, mean_b = means or (latents[0].mean(0), latents[1].mean(0))
    mean_c = latents[2].mean(0)
    direction = strength * (mean_a - mean_b)
    if layers is not None:
        direction = direction_in_layers(direction, layers)
    exemplars = [space.render(each) for each in latents]
    return Arithmetic(
        direction=direction,
        exemplars=(exemplars[0], exemplars[1], exemplars[2]),
        means=space.render(torch.stack([mean_a, mean_b, mean_c])),
        moved=space.render(latents[2] + direction),
        result=space.render((mean_c + direction)[None])[0],
    )
