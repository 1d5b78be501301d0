"""Dragging of points of an image to targets, by motion supervision and point tracking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from ganforge.contract.errors import OptionError
from ganforge.core.images import to_uint8
from ganforge.explore.feature_maps import captured, find_map
from ganforge.explore.spaces import Source, WSpace

Point = tuple[float, float]
"""Position (x, y) in pixels; (0, 0) is the center of the pixel at the top left."""


@dataclass(frozen=True)
class Drag:
    """Result of a drag: the moved styles ``[L, w_dim]``, on the CPU, and their image, uint8 ``[C, H, W]``.

    Attributes:
        handles: Positions ``[S + 1, P, 2]`` of the handles before each of S steps and at the end, as tracked.
        frames: Images uint8 ``[F, C, H, W]``, evenly spaced, the first before the drag.
        frame_steps: Steps before each frame.
    """

    latent: Tensor
    image: Tensor
    handles: Tensor
    frames: Tensor
    frame_steps: list[int]


def drag(
    space: WSpace,
    source: Source,
    handles: Sequence[Point],
    targets: Sequence[Point],
    *,
    steps: int = 200,
    rate: float = 0.003,
    edge: int | None = None,
    radius: int = 3,
    tolerance: float = 0.5,
    frames: int = 60,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drag:
    """Move what is at the handles to the targets (Pan 2023, arXiv:2305.10973).

    Each step of Adam moves the feature map around each handle by a pixel towards its target: the loss is the L1
    distance between the map at the shifted positions and the map at the positions, which is held constant. Then each
    handle is tracked: it is where a patch of the image is most similar to that of the first image at the handle. The
    paper compares maps, which arrive before what is visible does. Layers behind the map have no gradients and keep
    their styles. The radius of the search is the paper's, scaled to the image's size.

    Args:
        space: Space of styles.
        source: Seed, or styles ``[L, w_dim]``.
        handles: Points of the image.
        targets: Target of each handle.
        steps: Maximum number of steps.
        rate: Learning rate, in standard deviations of styles.
        edge: Maximum edge of the feature map; None for half of the image's.
        radius: Radius in pixels of what is moved around a handle; the tracked patch has a pixel more.
        tolerance: Distance in pixels at which a handle has arrived; the drag ends when all have.
        frames: Number of frames.
        progress: Called after each step with the number done and the maximum.

    Raises:
        OptionError: A point is outside of the image, or the generator has no such feature map.
    """
    start = space.latents([source]).detach()
    with torch.no_grad():
        height, width = space.decode(start).shape[2:]
    for x, y in (*handles, *targets):
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(f"point {x:g},{y:g} is outside of the image", f"x to {width - 1}, y to {height - 1}")
    search = max(1, round(12 * height / 512))
    latent = start.clone().requires_grad_()
    deviation = float(space.from_seeds(range(1000)).std(0).mean())
    optimizer = torch.optim.Adam([latent], lr=rate * deviation)
    points, goals = (torch.tensor(each, device=space.device, dtype=torch.float32) for each in (handles, targets))
    track, shown = [points], []
    offsets, patch = (_square(each).to(space.device) for each in (radius, radius + 1))
    with captured(find_map(space, edge or max(height, width) // 2)) as read:

        def look() -> tuple[Tensor, Tensor]:
            image = space.decode(latent)
            return image, interpolate(read(), (height, width), mode="bilinear", align_corners=False)

        image, maps = look()
        wanted = _sample(image.detach(), points[:, None] + patch)
        shown.append(to_uint8(image.detach())[0].cpu())
        for step in range(steps):
            rest = goals - points
            length = rest.norm(dim=1, keepdim=True)
            if bool((length <= tolerance).all()):
                break
            directions = rest / length.clamp_min(1)
            around = points[:, None] + offsets
            loss = (_sample(maps, around + directions[:, None]) - _sample(maps, around).detach()).abs().mean()
            (latent.grad,) = torch.autograd.grad(loss, [latent])
            optimizer.step()
            image, maps = look()
            points = _track(image.detach(), wanted, points, patch, search)
            track.append(points)
            shown.append(to_uint8(image.detach())[0].cpu())
            progress(step + 1, steps)
    chosen = sorted({round(index) for index in torch.linspace(0, len(shown) - 1, frames).tolist()})
    latents = latent.detach()
    return Drag(
        latent=latents[0].cpu(),
        image=space.render(latents)[0],
        handles=torch.stack(track).cpu(),
        frames=torch.stack([shown[index] for index in chosen]),
        frame_steps=chosen,
    )


def _square(radius: int, step: float = 1.0) -> Tensor:
    """Return offsets ``[N, 2]`` of a square grid of points from -radius to radius."""
    line = torch.arange(-radius, radius + step / 2, step)
    return torch.cartesian_prod(line, line)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Return values ``[..., K]`` of maps ``[1, K, H, W]`` at points ``[..., 2]`` in pixels, interpolated linearly."""
    size = torch.tensor(maps.shape[:1:-1], device=maps.device)
    grid = (points.reshape(1, 1, -1, 2) + 0.5) / size * 2 - 1
    found = grid_sample(maps, grid.to(maps.dtype), mode="bilinear", padding_mode="border", align_corners=False)
    return found[0, :, 0].T.reshape(*points.shape[:-1], -1)


def _track(image: Tensor, wanted: Tensor, points: Tensor, offsets: Tensor, search: int) -> Tensor:
    """Return for each point ``[P, 2]`` the place near it whose patch is most similar to `wanted` ``[P, Q, K]``."""
    limit = torch.tensor(image.shape[:1:-1], device=image.device) - 1
    places = (points[:, None] + _square(search, 0.5).to(points)).clamp_min(0).minimum(limit)
    errors = (_sample(image, places[:, :, None] + offsets) - wanted[:, None]).abs().sum((2, 3))
    return places[torch.arange(len(places)), errors.argmin(1)]
