"""Layer attribution by style mixing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ganforge.explore.attributes import Read
from ganforge.explore.mixing import THIRDS, mix_styles, read_layers
from ganforge.explore.spaces import WSpace

_BATCH = 256


@dataclass(frozen=True)
class Following:
    """Share of mixed images that follow source B rather than A in ``colour``, ``layout``, or an attribute.

    Attributes:
        num_differing: Number of pairs whose sources differ in it; shares refer to these, and are None without any.
        thirds: Share with a third of the layers from B, by name in `THIRDS`.
        layers: Share with a single layer from B, for each of the L layers.
    """

    name: str
    num_differing: int
    thirds: dict[str, float | None]
    layers: list[float | None]


def follow_layers(
    space: WSpace,
    read: Read | None = None,
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    count: int = 500,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Following]:
    """Measure what each layer controls, by style mixing (after Karras 2019, arXiv:1812.04948, figure 3).

    Pair i has sources A of seed ``seed + 2 i`` and B of ``seed + 2 i + 1``. The mixed image M has the styles of B in a
    set S of layers, else those of A. With features f, M follows B if ``|f(M) - f(B)| < |f(M) - f(A)|``; pairs count
    where ``f(A) != f(B)``. f is an attribute (0 or 1), `mean_colour`, or `layout`. S is each third of the layers, and
    each single layer.

    Args:
        space: Space of styles, with at least three layers.
        read: Reads attributes; None for none.
        names: Names of the attributes.
        seed: Seed of the first source.
        count: Number of pairs N.
        progress: Called after each of the 5 + L sets of N images with the number done and the total.

    Returns:
        Results for each attribute in the order of `names`, then ``colour`` and ``layout``.
    """
    num_styles = space.styles.num_styles
    sets = [*(read_layers(third, num_styles) for third in THIRDS), *(range(i, i + 1) for i in range(num_styles))]
    sources = space.from_seeds(range(seed, seed + 2 * count))
    a, b = sources[::2], sources[1::2]

    def describe(latents: Tensor) -> list[Tensor]:
        """Return features of the images of latents ``[N, L, w_dim]``: one ``[N, D]`` per respect."""
        parts = []
        for chunk in torch.split(latents, _BATCH):
            images = space.render(chunk)
            attributes = read(images).double().unsqueeze(2).unbind(1) if read else ()
            parts.append([*attributes, mean_colour(images), layout(images)])
        return [torch.cat(each) for each in zip(*parts, strict=True)]

    total = len(sets) + 2
    shown_by_a = describe(a)
    progress(1, total)
    shown_by_b = describe(b)
    progress(2, total)
    # The threshold excludes rounding errors.
    differing = [(of_a - of_b).norm(dim=1) > 1e-9 for of_a, of_b in zip(shown_by_a, shown_by_b, strict=True)]
    shares: list[list[float | None]] = [[] for _ in differing]
    for done, layers in enumerate(sets, start=3):
        shown = describe(mix_styles(a, b, layers))
        for row, of_m, of_a, of_b, differ in zip(shares, shown, shown_by_a, shown_by_b, differing, strict=True):
            follows = ((of_m - of_b).norm(dim=1) < (of_m - of_a).norm(dim=1))[differ]
            row.append(float(follows.double().mean()) if len(follows) else None)
        progress(done, total)
    return [
        Following(name, int(differ.sum()), dict(zip(THIRDS, row[:3], strict=True)), row[3:])
        for name, differ, row in zip([*names, "colour", "layout"], differing, shares, strict=True)
    ]


def mean_colour(images: Tensor) -> Tensor:
    """Return the mean color of images uint8 ``[N, C, H, W]``, float64 ``[N, C]`` in [0, 255]."""
    return images.double().mean((2, 3))


def layout(images: Tensor) -> Tensor:
    """Return the layout of brightness, invariant to color, brightness and contrast; uint8 to float64 ``[N, 64]``.

    Channels are summed, averaged to 8 x 8, centered and normalized, so that distance corresponds to correlation. Images
    without contrast give zeros.
    """
    gray = adaptive_avg_pool2d(images.double().sum(1), 8).flatten(1)
    return normalize(gray - gray.mean(1, keepdim=True))
