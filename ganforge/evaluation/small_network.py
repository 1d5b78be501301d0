"""Small convolutional network of images, trained in minutes, for classifiers and for readers of condition vectors."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ganforge.contract.errors import DataError
from ganforge.core.images import to_float
from ganforge.data.splits import is_held_out
from ganforge.data.store import PackedData

ARCHITECTURE = "conv3x3-16-32-64-128"
"""Four 3 x 3 convolutions with batch norm and ReLU, all but the first of stride 2, and one linear layer."""

HOLDOUT = 0.1
"""Share of the images held out from training, for the accuracy."""

_BATCH = 128
_RATE = 2e-3


def build_network(shape: tuple[int, ...], num_outputs: int) -> nn.Sequential:
    """Return the network of `ARCHITECTURE` from images of shape ``(C, H, W)`` to outputs ``[N, num_outputs]``."""
    channels, height, width = shape
    layers: list[nn.Module] = []
    for out, stride in ((16, 1), (32, 2), (64, 2), (128, 2)):
        layers += [nn.Conv2d(channels, out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        channels, height, width = out, -(-height // stride), -(-width // stride)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * height * width, num_outputs))


def split_images(data: PackedData) -> tuple[Tensor, Tensor]:
    """Return the indices of the images for training and of those held out; raise `DataError` if either has too few."""
    held_out = is_held_out(len(data), HOLDOUT)
    seen, unseen = (~held_out).nonzero()[:, 0], held_out.nonzero()[:, 0]
    if len(seen) < 2 or not len(unseen):
        raise DataError(f"{data.name} has only {len(data)} images", "use more, so that some can be held out")
    return seen, unseen


def train_network(
    data: PackedData,
    targets: Tensor,
    num_outputs: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    seed: int,
    epochs: int,
    least_steps: int = 0,
    device: torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Train by Adam (Kingma and Ba 2015) with a cosine schedule of the learning rate to 0. Deterministic on a CPU.

    Args:
        data: Images; those that `split_images` holds out are not shown.
        targets: Target of each image, ``[N, ...]``.
        num_outputs: Number of outputs per image.
        loss: Function of outputs ``[n, num_outputs]`` and targets ``[n, ...]`` to a scalar.
        seed: Seed of the initial weights and of the order of images.
        epochs: Number of epochs, 1 or more.
        least_steps: Minimum number of steps; more epochs if they have fewer.
        device: Device of the training; None for the CPU.
        progress: Called after each batch with the number of images seen and the total.

    Returns:
        The network in evaluation mode.
    """
    seen, _ = split_images(data)
    device = device or torch.device("cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(data.spec.shape, num_outputs)
    network.to(device).train()
    order = torch.Generator().manual_seed(seed)
    batch = min(_BATCH, len(seen))
    steps = len(seen) // batch  # the rest differs per epoch
    epochs = max(epochs, math.ceil(least_steps / steps))
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * steps)
    done = 0
    for _ in range(epochs):
        shuffled = seen[torch.randperm(len(seen), generator=order)]
        for chosen in torch.split(shuffled[: steps * batch], batch):
            value = loss(network(to_float(data.examples[chosen].to(device))), targets[chosen].to(device))
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += batch
            if progress is not None:
                progress(done, epochs * steps * batch)
    return network.eval()


def run_network(network: nn.Module, images: Tensor) -> Tensor:
    """Return outputs, float32 ``[N, K]`` on the CPU, of images, uint8 ``[N, C, H, W]`` on any device."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        found = [network(to_float(chunk.to(device))).cpu() for chunk in torch.split(images, 512)]
    return torch.cat(found).clone()
