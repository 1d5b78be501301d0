"""Style mixing: styles of two sources in different layers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.explore.spaces import Source, WSpace

THIRDS = ("coarse", "middle", "fine")  # names of the thirds of a generator's layers


def read_layers(text: str, num_styles: int) -> range:
    """Parse layers: ``coarse``, ``middle`` or ``fine``, each a third; or indices such as ``0-3`` or ``7``."""
    last = num_styles - 1
    if text in THIRDS:
        third = THIRDS.index(text)
        layers = range(round(third * num_styles / 3), round((third + 1) * num_styles / 3))
    else:
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        if not found:
            raise OptionError(f"invalid layers '{text}'", f"choose coarse, middle, fine or e.g. 0-{last}")
        first = int(found[1])
        layers = range(first, int(found[2] or first) + 1)
    if not layers or layers[-1] > last:
        raise OptionError(f"invalid layers '{text}'", f"this generator has layers 0-{last}")
    return layers


def mix_styles(base: Tensor, other: Tensor, layers: range) -> Tensor:
    """Return styles ``[..., L, w_dim]`` of `base`, with those of `other` in the given layers."""
    mixed = base.clone()
    mixed[..., list(layers), :] = other[..., list(layers), :]
    return mixed


def direction_in_layers(direction: Tensor, layers: range) -> Tensor:
    """Return a direction ``[L, w_dim]`` that is 0 outside the given layers."""
    return mix_styles(torch.zeros_like(direction), direction, layers)


def mix(
    space: WSpace, rows: Sequence[Source], columns: Sequence[Source], layers: range
) -> tuple[Tensor, Tensor, Tensor]:
    """Style mixing table (Karras 2019, arXiv:1812.04948, figure 3): sources B, the columns, give the given layers.

    Sources are seeds or styles ``[L, w_dim]``.

    Returns:
        Images uint8 of A ``[R, C, H, W]``, of B ``[K, C, H, W]`` and mixed ``[R, K, C, H, W]``.
    """
    a, b = space.latents(rows), space.latents(columns)
    mixed = mix_styles(a[:, None].expand(-1, len(b), -1, -1), b.expand(len(a), -1, -1, -1), layers)
    images = space.render(mixed.flatten(0, 1))
    return space.render(a), space.render(b), images.view(len(a), len(b), *images.shape[1:])
