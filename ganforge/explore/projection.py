"""From an image back to a latent, by optimisation."""

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

CANDIDATES = 64
"""Seeds that are tried before; the search begins at the best of them or at their mean."""


@dataclass(frozen=True)
class Projection:
    """The latent of an image.

    Attributes:
        latent: ``[...]`` of the space, on the CPU; the best that was met.
        image: What the generator makes of it, uint8 ``[C, H, W]``.
        losses: Mean squared error of pixels in [-1, 1] at each step, the first before any.
        frames: Images uint8 ``[F, C, H, W]`` from the start to the end of the search.
        frame_steps: The step of each.
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
    """Find the latent whose image is nearest to a given one: Adam on the mean squared error of pixels.

    In w one style is sought for all layers (Karras 2020, arXiv:1912.04958, section 5, which adds features and noise).

    Args:
        space: Where to search.
        target: uint8 ``[C, H, W]``, of the size that the generator makes.
        steps: Of the optimisation.
        rate: Of Adam, at the beginning; it falls to 0 as a cosine.
        seed: Of the first latent that is tried.
        frames: Images to keep of the search, spread evenly.
        progress: Called after each step with their number, and of how many.

    Raises:
        DataError: The image has another size.
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
            # Of the latent alone, so that the generator's parameters gather no gradients.
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
    """Mean squared errors ``[N]`` of the images of latents ``[N, ...]``.

    Raises:
        DataError: They are of another size than the image that is wanted.
    """
    images = space.decode(latents)
    if images.shape[1:] != wanted.shape[1:]:
        raise DataError(f"the image is {list(wanted.shape[1:])}, the generator makes {list(images.shape[1:])}")
    return (images - wanted).square().flatten(1).mean(1)
