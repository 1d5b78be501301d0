"""Projection of an image to a latent by optimization."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from ganforge.contract.errors import DataError
from ganforge.core.images import to_float, to_uint8
from ganforge.explore.features import Distance
from ganforge.explore.noise_maps import noise_penalty, normalize_noise, optimized_noise
from ganforge.explore.spaces import LatentSpace

CANDIDATES = 64  # number of random latents; the search starts at the best of them, or at their mean

# Weight of `noise_penalty`. The paper's 1e5, for a perceptual loss at 1024 pixels, leaves pixels without effect.
NOISE_WEIGHT = 0.1


@dataclass(frozen=True)
class Projection:
    """Result of a projection: the best latent, on the CPU, and its image, uint8 ``[C, H, W]``.

    Attributes:
        noise: Optimized noise maps ``[1, 1, H, W]``, on the CPU; empty without.
        losses: Minimized loss before each step and at the end, without the penalty of noise maps.
        psnr: Peak signal-to-noise ratio of the image in dB: ``10 log10(255^2 / mean squared error)``.
        frames: Intermediate images uint8 ``[F, C, H, W]``, at `frame_steps`.
    """

    latent: Tensor
    noise: list[Tensor]
    image: Tensor
    losses: list[float]
    psnr: float
    frames: Tensor
    frame_steps: list[int]


def project(
    space: LatentSpace,
    target: Tensor,
    *,
    steps: int = 300,
    rate: float = 0.05,
    seed: int = 0,
    features: Distance | None = None,
    feature_weight: float = 1.0,
    noise: bool = False,
    frames: int = 8,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Projection:
    """Find the latent whose image has the smallest distance to an image, with Adam.

    The distance is the mean squared error of pixels in [-1, 1], plus `feature_weight` times that of `features`. In w
    one style is optimized for all layers (after Karras 2020, arXiv:1912.04958, appendix D), in w+ one per layer.

    Args:
        space: Latent space.
        target: uint8 ``[C, H, W]``, of the generator's size.
        steps: Number of optimization steps.
        rate: Initial learning rate, with cosine decay to 0.
        seed: Seed of the first candidate.
        features: Distance of features, such as `FeatureDistance`; None for pixels alone.
        feature_weight: Weight of `features`.
        noise: Optimize the noise maps too, with the paper's penalty of autocorrelation.
        frames: Number of evenly spaced frames.
        progress: Called after each step with the number done and the total.

    Raises:
        DataError: The image has another size.
        OptionError: `noise` is set and the generator has none, or `features` have no gradients.
    """
    wanted = to_float(target.to(space.device))[None]
    latent = space.free(_find_start(space, wanted, seed)).clone().requires_grad_()
    wanted_steps = sorted({round(index) for index in torch.linspace(0, steps, max(frames, 2)).tolist()})
    losses, kept, best_loss, best = [], [], math.inf, list[Tensor]()
    context: AbstractContextManager[list[Tensor]] = optimized_noise(space.generator) if noise else nullcontext([])
    with context as maps:
        variables = [latent, *maps]
        optimizer = torch.optim.Adam(variables, lr=rate)
        for step in range(steps + 1):
            image = space.decode(space.complete(latent))
            loss = mse_loss(image, wanted)
            if features is not None:
                loss = loss + feature_weight * features(image, wanted).sum()
            losses.append(loss.item())
            if losses[-1] < best_loss:
                best_loss, best = losses[-1], [each.detach().clone() for each in variables]
            if step in wanted_steps:
                kept.append(to_uint8(image.detach())[0].cpu())
            if step < steps:
                optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / steps)) / 2
                if maps:
                    loss = loss + NOISE_WEIGHT * noise_penalty(maps)
                # With respect to the variables only: the generator's parameters accumulate no gradients.
                for variable, gradient in zip(variables, torch.autograd.grad(loss, variables), strict=True):
                    variable.grad = gradient
                optimizer.step()
                normalize_noise(maps)
                progress(step + 1, steps)
        optimizer.zero_grad()
        with torch.no_grad():
            for variable, found in zip(variables, best, strict=True):
                variable.copy_(found)
        latents = space.complete(latent.detach())
        result = space.render(latents)[0]
    error = (result.double() - target.cpu()).square().mean().clamp_min(1e-12)
    return Projection(
        latent=latents[0].cpu(),
        noise=[each.cpu() for each in best[1:]],
        image=result,
        losses=losses,
        psnr=float(10 * torch.log10(255**2 / error)),
        frames=torch.stack(kept),
        frame_steps=wanted_steps,
    )


@torch.no_grad()
def _find_start(space: LatentSpace, wanted: Tensor, seed: int) -> Tensor:
    """Return the latent ``[1, ...]`` of the smallest pixel error, among random ones from `seed` and their mean."""
    candidates = space.from_seeds(range(seed, seed + CANDIDATES))
    candidates = torch.cat([candidates, candidates.mean(0, keepdim=True)])
    errors = []
    for chunk in torch.split(candidates, 16):
        images = space.decode(chunk)
        if images.shape[1:] != wanted.shape[1:]:
            raise DataError(f"the image is {list(wanted.shape[1:])}, the generator makes {list(images.shape[1:])}")
        errors.append((images - wanted).square().flatten(1).mean(1))
    best = int(torch.cat(errors).argmin())
    return candidates[best : best + 1]
