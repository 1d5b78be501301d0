"""Generator with codes in its latents, and discriminator that reads them."""

from __future__ import annotations

import math

import torch
from ganforge import DataSpec, FeatureDiscriminator, Generator, map_sizes
from torch import Tensor, nn
from torch.nn.functional import one_hot


def _channels(data: DataSpec, width: int) -> list[int]:
    """Return channels from the smallest maps to the image's size."""
    if width < 1:
        raise ValueError(f"width={width} must be at least 1")
    return [width * 2 ** min(level, 3) for level in range(len(map_sizes(data)))][::-1]


class CodeGenerator(Generator):
    """Transposed convolutions from noise, a category, and continuous codes.

    The first `categories` latents choose the category, as the index of their largest, so every category is as likely.
    The next `continuous` latents are continuous codes, from N(0, 1).

    Args:
        data: Images.
        categories: Number of values of the category.
        continuous: Number of continuous codes.
        noise: Number of further latents.
        width: Channels at half the image's size, doubled at each smaller size, up to 8 times.
    """

    def __init__(
        self, data: DataSpec, *, categories: int = 10, continuous: int = 2, noise: int = 62, width: int = 32
    ) -> None:
        super().__init__()
        if categories < 2 or continuous < 0 or noise < 0:
            raise ValueError(f"categories={categories} must be at least 2, continuous and noise at least 0")
        self.categories, self.continuous = categories, continuous
        self.z_dim = categories + continuous + noise
        first, *others = _channels(data, width)
        smallest = map_sizes(data)[0]
        layers: list[nn.Module] = [nn.Unflatten(1, (self.z_dim, 1, 1)), nn.ConvTranspose2d(self.z_dim, first, smallest)]
        for channels in others:
            layers += [nn.BatchNorm2d(first), nn.ReLU(), nn.ConvTranspose2d(first, channels, 4, 2, 1)]
            first = channels
        self.layers = nn.Sequential(*layers, nn.BatchNorm2d(first), nn.ReLU(), nn.Conv2d(first, data.shape[0], 3, 1, 1))

    def codes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return categories ``[N]`` int64 and continuous codes ``[N, continuous]`` of latents ``[N, z_dim]``."""
        return z[:, : self.categories].argmax(1), z[:, self.categories : self.categories + self.continuous]

    def forward(self, z: Tensor, labels: Tensor | None = None, category: int = -1) -> Tensor:
        """Draw images ``[N, C, H, W]``; a category from 0 replaces those of the latents."""
        chosen = z[:, : self.categories].argmax(1)
        if category >= 0:
            chosen = torch.full_like(chosen, category)
        hot = one_hot(chosen, self.categories).to(z.dtype)
        images: Tensor = self.layers(torch.cat([hot * self.categories**0.5, z[:, self.categories :]], dim=1))
        return images.tanh()


class CodeDiscriminator(FeatureDiscriminator):
    """Strided convolutions, a logit, and a head that predicts codes.

    Args:
        data: Images.
        categories: Number of values of the category, as of the generator.
        continuous: Number of continuous codes, as of the generator.
        width: Channels of the largest maps, doubled at each smaller size, up to 8 times.
    """

    def __init__(self, data: DataSpec, *, categories: int = 10, continuous: int = 2, width: int = 32) -> None:
        super().__init__()
        self.categories, self.continuous = categories, continuous
        before, layers = data.shape[0], list[nn.Module]()
        for level, channels in enumerate(_channels(data, width)[-2::-1]):
            layers += [
                nn.Conv2d(before, channels, 4, 2, 1),
                *[nn.BatchNorm2d(channels)] * (level > 0),
                nn.LeakyReLU(0.2),
            ]
            before = channels
        self.trunk = nn.Sequential(*layers, nn.Flatten())
        flat = before * math.prod(map_sizes(data)[0])
        self.judge = nn.Linear(flat, 1)
        self.reader = nn.Sequential(nn.Linear(flat, 128), nn.LeakyReLU(0.2), nn.Linear(128, categories + continuous))

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the last hidden layer ``[N, F]``."""
        features: Tensor = self.trunk(images)
        return features

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return logits ``[N]``."""
        logits: Tensor = self.judge(features)
        return logits.squeeze(1)

    def read(self, features: Tensor) -> Tensor:
        """Return logits of the category and means of continuous codes ``[N, categories + continuous]``."""
        codes: Tensor = self.reader(features)
        return codes
