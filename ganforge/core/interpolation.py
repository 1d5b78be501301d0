"""The ways from one latent to another: straight, or along the sphere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Linear interpolation ``(1 - weight) * start + weight * end``, exact at both ends.

    Args:
        start: Latents ``[..., D]``.
        end: Likewise.
        weight: From 0, the start, to 1, the end; a tensor broadcasts with the latents, as ``[T, 1]`` does with ``[D]``.

    Returns:
        As many latents as weights and ends broadcast to, in the type of `start`.
    """
    weight = torch.as_tensor(weight).to(start)
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Spherical interpolation (Shoemake 1985; White 2016, arXiv:1609.04468), exact at both ends.

    The direction turns from that of `start` to that of `end` at constant speed, along the shorter way; the length grows
    linearly from one to the other. Latents from N(0, 1) lie near a sphere, and between two of them a straight line
    leaves it: its middle is shorter by a factor of about sqrt(2), and generators have seldom seen such latents.
    Computed in float64. Where the ends are opposite and no way is the shorter one, the same one is taken each time.

    Args:
        start: Latents ``[..., D]``; turned in the last dimension.
        end: Likewise.
        weight: From 0, the start, to 1, the end; a tensor broadcasts with the latents, as ``[T, 1]`` does with ``[D]``.

    Returns:
        As many latents as weights and ends broadcast to, in the type of `start`.
    """
    p, q = start.double(), end.double()
    t = torch.as_tensor(weight, dtype=torch.float64, device=start.device)
    length_p, length_q = (each.norm(dim=-1, keepdim=True) for each in (p, q))
    u, v = _direction(p), _direction(q)
    # Unlike the arc cosine of their product, this is accurate for angles near 0 and near pi too (Kahan).
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    across = _perpendicular(u, v)
    is_lost = across.norm(dim=-1, keepdim=True) < 1e-14  # parallel, where it does not matter, or opposite
    normal = _direction(torch.where(is_lost, _perpendicular(u, _farthest_axis(u)), across))
    between = (torch.cos(t * angle) * u + torch.sin(t * angle) * normal) * ((1 - t) * length_p + t * length_q)
    # A latent of length 0 has no direction; to and from it the way is straight.
    between = torch.where((length_p == 0) | (length_q == 0), (1 - t) * p + t * q, between)
    return torch.where(t == 0, p, torch.where(t == 1, q, between)).to(start)


INTERPOLATIONS: dict[str, Callable[[Tensor, Tensor, Tensor | float], Tensor]] = {"lerp": lerp, "slerp": slerp}
"""By the names that a user gives."""


def _direction(x: Tensor) -> Tensor:
    length = x.norm(dim=-1, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


def _perpendicular(u: Tensor, x: Tensor) -> Tensor:
    """What of x is perpendicular to u, a vector of length 1."""
    for _ in range(2):  # once leaves errors where x is nearly parallel
        x = x - (u * x).sum(-1, keepdim=True) * u
    return x


def _farthest_axis(u: Tensor) -> Tensor:
    return torch.zeros_like(u).scatter_(-1, u.abs().argmin(-1, keepdim=True), 1.0)
