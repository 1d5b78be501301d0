"""Projection of an image to a latent by optimization."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ganforge.contract.errors import DataError
from ganforge.core.images import to_float, to_uint8
from ganforge.explore.spaces import LatentSpace

CANDIDATES = 64  # number of random latents; the search starts at the best of them, or at their mean


@dataclass(frozen=True)
class Projection:
    """Result of a projection: the best latent, on the CPU, and its image, uint8 ``[C, H, W]``.

    Attributes:
        losses: Mean squared error of pixels in [-1, 1], before each step and at the end.
        frames: Intermediate images uint8 ``[F, C, H, W]``, at `frame_steps`.
    """

    latent: Tensor
    image: Tensor
    losses: list[float]
    frames: Tensor
    frame_steps: list[int]


def project(
    space: LatentSpace,
    target: Tensor,
    *,
    steps: int = 300,
    rate: float = 0.05,
    seed: int = 0,
    frames: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Projection:
    """Find the latent whose image has the smallest mean squared error, with Adam.

    In w one style is optimized for all layers (Karras 2020, arXiv:1912.04958, section 5, without features and noise).

    Args:
        space: Latent space.
        target: uint8 ``[C, H, W]``, of the generator's size.
        steps: Number of optimization steps.
        rate: Initial learning rate, with cosine decay to 0.
        seed: Seed of the first candidate.
        frames: Number of evenly spaced frames.
        progress: Called after each step with the number done and the total.
    """
    candidates = space.from_seeds(range(seed, seed + CANDIDATES))
    candidates = torch.cat([candidates, candidates.mean(0, keepdim=True)])
    wanted = to_float(target.to(space.device))[None]
    start = int(torch.cat([_errors(space, chunk, wanted) for chunk in torch.split(candidates, 16)]).argmin())
    latent = space.free(candidates[start : start + 1]).clone().requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=rate)
    wanted_steps = sorted({round(index) for index in torch.linspace(0, steps, max(frames, 2)).tolist()})
    losses, kept, best = [], [], (math.inf, latent.detach().clone())
    for step in range(steps + 1):
        image = space.decode(space.complete(latent))
        loss = mse_loss(image, wanted)
        losses.append(loss.item())
        if losses[-1] < best[0]:
            best = losses[-1], latent.detach().clone()
        if step in wanted_steps:
            kept.append(to_uint8(image.detach())[0].cpu())
        if step < steps:
            optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
            # With respect to the latent only: the generator's parameters accumulate no gradients.
            (latent.grad,) = torch.autograd.grad(loss, [latent])
            optimizer.step()
            progress(step + 1, steps)
    found = space.complete(best[1])
    return Projection(
        latent=found[0].cpu(),
        image=space.render(found)[0],
        losses=losses,
        frames=torch.stack(kept),
        frame_steps=wanted_steps,
    )


@torch.no_grad()
def _errors(space: LatentSpace, latents: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared errors ``[N]`` of latents ``[N, ...]``; raise `DataError` if the sizes differ."""
    images = space.decode(latents)
    if images.shape[1:] != wanted.shape[1:]:
        raise DataError(f"the image is {list(wanted.shape[1:])}, the generator makes {list(images.shape[1:])}")
    return (images - wanted).square().flatten(1).mean(1)
