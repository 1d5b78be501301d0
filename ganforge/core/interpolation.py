"""Interpolation of latents: linear and spherical."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Interpolate latents ``[..., D]`` linearly, ``(1 - weight) * start + weight * end``; exact at both ends.

    A weight tensor broadcasts with the latents, as ``[T, 1]`` does with ``[D]``.
    """
    weight = torch.as_tensor(weight).to(start)
    return (1 - weight) * start + weight * end


def slerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Interpolate latents ``[..., D]`` spherically (Shoemake 1985; White 2016, arXiv:1609.04468); arguments as `lerp`.

    The direction turns from `start` to `end` at constant speed along the shorter arc; the length grows linearly.
    Latents from N(0, 1) lie near a sphere. The midpoint of a straight line between two of them is shorter by a factor
    of about sqrt(2), which generators rarely see in training. Computed in float64 on the CPU. For opposite ends the arc
    is arbitrary but fixed.
    """
    p, q, t = (torch.as_tensor(each, dtype=torch.float64, device="cpu") for each in (start, end, weight))
    length_p, length_q = (each.norm(dim=-1, keepdim=True) for each in (p, q))
    u, v = _direction(p), _direction(q)
    # More accurate near 0 and pi than the arc cosine of the product (Kahan).
    angle = 2 * torch.atan2((u - v).norm(dim=-1, keepdim=True), (u + v).norm(dim=-1, keepdim=True))
    across = _perpendicular(u, v)
    is_lost = across.norm(dim=-1, keepdim=True) < 1e-14  # parallel or opposite
    farthest_axis = torch.zeros_like(u).scatter_(-1, u.abs().argmin(-1, keepdim=True), 1.0)
    normal = _direction(torch.where(is_lost, _perpendicular(u, farthest_axis), across))
    between = (torch.cos(t * angle) * u + torch.sin(t * angle) * normal) * ((1 - t) * length_p + t * length_q)
    # A latent of length 0 has no direction: interpolate linearly.
    between = torch.where((length_p == 0) | (length_q == 0), (1 - t) * p + t * q, between)
    return torch.where(t == 0, p, torch.where(t == 1, q, between)).to(start)


INTERPOLATIONS: dict[str, Callable[[Tensor, Tensor, Tensor | float], Tensor]] = {"lerp": lerp, "slerp": slerp}
"""Interpolation functions by name."""


def _direction(x: Tensor) -> Tensor:
    length = x.norm(dim=-1, keepdim=True)
    return x / torch.where(length == 0, torch.ones_like(length), length)


def _perpendicular(u: Tensor, x: Tensor) -> Tensor:
    """Return the component of x perpendicular to the unit vector u."""
    for _ in range(2):  # once leaves errors where x is nearly parallel
        x = x - (u * x).sum(-1, keepdim=True) * u
    return x
