"""Ways through latent spaces, and how fast images change along them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ganforge.core.interpolation import lerp, slerp

EPSILON = 1e-4
"""The step along a way, as in the paper."""


def path_lengths(
    generate: Callable[[Tensor], Tensor],
    distance: Callable[[Tensor, Tensor], Tensor],
    way: Callable[[Tensor], Tensor],
    positions: Tensor,
    epsilon: float = EPSILON,
) -> Tensor:
    r"""Squared speeds of images along ways through a latent space (Karras et al. 2019, arXiv:1812.04948, section 4.1).

    .. math:: \frac{1}{\epsilon^2} d\bigl(G(p(t)), G(p(t + \epsilon))\bigr)

    With a distance d that is the square of a metric it tends, for small epsilon, to the square of the speed with which
    images change, and its mean to the mean of ``|J p'(t)|^2`` with the Jacobian J of features by latents.

    Args:
        generate: From latents ``[N, ...]`` to images ``[N, ...]``; any noise that it draws is the same for both.
        distance: From two batches of images to squared distances ``[N]``.
        way: From positions ``[N]`` to the latents ``[N, ...]`` there.
        positions: t ``[N]``; float64, or the step is lost in rounding.
        epsilon: The step.

    Returns:
        float64 ``[N]``.
    """
    cuda = [positions.device] if positions.device.type == "cuda" else []
    images = []
    for latents in (way(positions), way(positions + epsilon)):
        with torch.random.fork_rng(devices=cuda):
            torch.manual_seed(0)
            images.append(generate(latents))
    return distance(*images).double() / epsilon**2


def mean_without_outliers(lengths: Tensor) -> tuple[float, float]:
    """Mean of lengths ``[N]`` and its standard error, without the lowest and the highest hundredth.

    As in the code of the paper's authors, of which their text does not speak: what lies below the 1 % quantile, rounded
    down to one of the lengths, or above the 99 % quantile, rounded up, is left out. Of fewer than 100 all are kept. The
    error is that of a trimmed mean, by the Winsorized deviation (Tukey and McLaughlin 1963).
    """
    low, high = lengths.quantile(0.01, interpolation="lower"), lengths.quantile(0.99, interpolation="higher")
    kept = lengths[(low <= lengths) & (lengths <= high)]
    deviation = float(lengths.clamp(low, high).std()) if len(lengths) > 1 else math.nan
    return float(kept.mean()), deviation * math.sqrt(len(lengths)) / len(kept)


def z_way(start: Tensor, end: Tensor) -> Callable[[Tensor], Tensor]:
    """From positions ``[N]`` to latents on the sphere of radius sqrt(D) between the directions of two ``[N, D]``.

    A generator that brings its latents to one length, as StyleGAN's mapping network does, sees the paper's way; one
    that does not is kept where latents from N(0, 1) lie.
    """
    first, last = (each / each.norm(dim=1, keepdim=True) * each.shape[1] ** 0.5 for each in (start, end))
    return lambda positions: slerp(first, last, positions[:, None])


def w_way(start: Tensor, end: Tensor) -> Callable[[Tensor], Tensor]:
    """From positions ``[N]`` to styles on the straight line between two, ``[N, L, w_dim]``."""
    return lambda positions: lerp(start, end, positions[:, None, None])
