"""Arithmetic of latents: the mean of some faces, less that of others, plus that of a third kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.explore.mixing import direction_in_layers
from ganforge.explore.spaces import LatentSpace, WSpace


@dataclass(frozen=True)
class Arithmetic:
    """A - B + C, in images.

    Attributes:
        direction: What was added, ``[...]`` as one latent: A - B times the strength, in the layers named.
        exemplars: Images uint8 of the exemplars of A, B and C, each ``[n, C, H, W]``.
        means: Images uint8 ``[3, C, H, W]`` of the mean latents of A, B and C.
        moved: Images uint8 ``[n, C, H, W]`` of the exemplars of C with the direction A - B added to each.
        result: Image uint8 ``[C, H, W]`` of the mean of C with the direction added.
    """

    direction: Tensor
    exemplars: tuple[Tensor, Tensor, Tensor]
    means: Tensor
    moved: Tensor
    result: Tensor

    def rows(self) -> list[list[Tensor | None]]:
        """A table: A, B, C, and C with the direction; in the last column the mean of each."""
        shown = [*self.exemplars, self.moved]
        width = max(map(len, shown))
        means = [*self.means, self.result]
        return [[*images, *[None] * (width - len(images)), mean] for images, mean in zip(shown, means, strict=True)]


def calculate(
    space: LatentSpace,
    a: Sequence[int],
    b: Sequence[int],
    c: Sequence[int],
    *,
    means: tuple[Tensor, Tensor] | None = None,
    strength: float = 1.0,
    layers: range | None = None,
) -> Arithmetic:
    """Compute ``mean(A) - mean(B) + mean(C)`` and look at it (Radford 2016, arXiv:1511.06434, section 6.3.2).

    Args:
        space: Of latents.
        a: Seeds of what has something.
        b: Seeds of the same without it.
        c: Seeds of what is to get it.
        means: Latents ``[...]`` to take for the means of A and of B; None for those of the seeds.
        strength: Factor of the direction ``mean(A) - mean(B)``.
        layers: To whose styles alone the direction is added, from `read_layers`; None for all. In w only.

    Raises:
        OptionError: Layers are named in z, which has none.
    """
    if layers is not None and not isinstance(space, WSpace):
        raise OptionError(f"latents in {space.name} have no layers", "name layers in w, or none")
    latents = [space.from_seeds(seeds) for seeds in (a, b, c)]
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
