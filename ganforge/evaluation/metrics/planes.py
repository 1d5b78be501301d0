"""Planes that divide points of two kinds, and how much they tell."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_MOST_STEPS = 100


def fit_plane(points: Tensor, sides: Tensor) -> tuple[Tensor, Tensor]:
    r"""A linear support vector machine: the plane ``normal . x + offset = 0`` between two kinds of points.

    .. math:: \min_{v, b} \tfrac12 |v|^2 + \sum_n \max(0, 1 - y_n (v \cdot \tilde x_n + b))^2

    with y of 1 or -1, and each coordinate of x brought to mean 0 and deviation 1. It is convex, and quadratic as long
    as the same points lie within the margin, so Newton's method ends after a few steps (Keerthi and DeCoste 2005). In
    float64, the same points always give the same plane.

    Args:
        points: ``[N, D]``.
        sides: bool ``[N]``.

    Returns:
        Normal ``[D]`` and offset, a scalar, in float64; on the positive side are points with True.
    """
    x = points.double()
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    x = (x - mean) / deviation
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    y = sides.double() * 2 - 1
    weight = torch.ones(x.shape[1], dtype=torch.float64, device=x.device)
    weight[-1] = 1e-9  # of the offset, which is free; not 0, so that there always is one solution

    def loss(plane: Tensor) -> float:
        return float((weight * plane.square()).sum() / 2 + (1 - y * (x @ plane)).clamp(min=0).square().sum())

    plane = torch.zeros_like(weight)
    for _ in range(_MOST_STEPS):
        missed = (1 - y * (x @ plane)).clamp(min=0)
        near = x[missed > 0]
        gradient = weight * plane - 2 * x.T @ (y * missed)
        if float(gradient.abs().max()) < 1e-9 * len(x):
            break
        step = torch.linalg.solve(torch.diag(weight) + 2 * near.T @ near, gradient)
        least, length = loss(plane), 1.0
        while loss(plane - length * step) > least - 1e-4 * length * float(gradient @ step) and length > 1e-9:
            length /= 2
        plane = plane - length * step
    normal = plane[:-1] / deviation
    return normal, plane[-1] - normal @ mean


def predict_sides(points: Tensor, sides: Tensor) -> Tensor:
    """On which side of a plane each point lies, the plane being fitted to points of which it is none.

    Every other point is one half, the rest the other; each is divided by the plane of the other. For a plane in D
    dimensions divides D + 1 points in any way whatever, and some of that luck is left for many more.

    Args:
        points: ``[N, D]``.
        sides: bool ``[N]``, what the planes are to tell.

    Returns:
        bool ``[N]``.
    """
    found = torch.empty_like(sides)
    for this in (slice(0, None, 2), slice(1, None, 2)):
        other = slice(1 - this.start, None, 2)
        normal, offset = fit_plane(points[other], sides[other])
        found[this] = points[this].double() @ normal + offset > 0
    return found


def entropy(truth: Tensor) -> float:
    """H(Y) in nats of a yes or no, bool ``[N]``."""
    share = float(truth.double().mean())
    return -sum(each * math.log(each) for each in (share, 1 - share) if each > 0)


def conditional_entropy(truth: Tensor, known: Tensor) -> float:
    r"""H(Y | X) in nats: what is still missing of a yes or no Y, bool ``[N]``, if X, bool ``[N]``, is known.

    .. math:: H(Y \mid X) = -\sum_{x, y} p(x, y) \ln \frac{p(x, y)}{p(x)}
    """
    return sum(float(each.double().mean()) * entropy(truth[each]) for each in (known, ~known) if bool(each.any()))
