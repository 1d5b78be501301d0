"""Gaussian mixtures with known modes, for mode coverage.

Ring and grid follow PacGAN (Lin et al. 2018, arXiv:1712.04086).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganforge import Dataset, OptionError, Recipe, hookimpl


class GaussianMixture(Dataset):
    """Isotropic Gaussians of equal weight and width.

    Example i belongs to mode ``i % K`` and depends only on the seed and i.

    Args:
        centers: Means of the modes, ``[K, D]``.
        sigma: Standard deviation of each mode along each axis; above 0.
        count: Number of examples.
        seed: Random seed.
        class_names: Names of the modes; empty for unlabeled examples.
    """

    def __init__(
        self, centers: Tensor, sigma: float, *, count: int, seed: int, class_names: Sequence[str] = ()
    ) -> None:
        for name, value, least in (("count", count, 1), ("seed", seed, 0)):
            if value < least:
                raise OptionError(f"{name} = {value} is too small", f"the least is {least}")
        if not sigma > 0:
            raise OptionError(f"sigma = {sigma} is too small", "it must be above 0")
        self.centers = centers.float()
        self.sigma = sigma
        self.count = count
        self.seed = seed
        self.class_names = tuple(class_names)

    @cached_property
    def _noise(self) -> Tensor:
        # numpy guarantees the stream of RandomState, so fingerprints stay the same.
        generator = np.random.RandomState(self.seed)
        return torch.from_numpy(generator.standard_normal((self.count, self.centers.shape[1]))).float()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        chosen = torch.as_tensor(indices)
        modes = chosen % len(self.centers)
        points = list(self.centers[modes] + self.sigma * self._noise[chosen])
        return list(zip(points, modes.tolist(), strict=True)) if self.class_names else points


class Gaussian1D(GaussianMixture):
    """One Gaussian on a line.

    Args:
        mean: Mean.
        deviation: Standard deviation.
    """

    def __init__(self, *, mean: float = 4.0, deviation: float = 1.25, count: int = 100_000, seed: int = 0) -> None:
        super().__init__(torch.tensor([[mean]]), deviation, count=count, seed=seed)


class Ring8(GaussianMixture):
    """Eight narrow Gaussians on a circle (Lin et al. 2018).

    Args:
        radius: Radius of the circle.
    """

    def __init__(self, *, radius: float = 1.0, sigma: float = 0.01, count: int = 100_000, seed: int = 0) -> None:
        angles = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
        centers = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
        names = [f"{45 * mode} degrees" for mode in range(8)]
        super().__init__(centers, sigma, count=count, seed=seed, class_names=names)


class Grid25(GaussianMixture):
    """Twenty-five narrow Gaussians on a 5 x 5 grid around 0 (Lin et al. 2018).

    Args:
        spacing: Distance of neighboring modes.
    """

    def __init__(self, *, spacing: float = 2.0, sigma: float = 0.05, count: int = 100_000, seed: int = 0) -> None:
        steps = spacing * torch.arange(-2, 3, dtype=torch.float64)
        centers = torch.cartesian_prod(steps, steps)
        names = [f"({x:g}, {y:g})" for x, y in centers.tolist()]
        super().__init__(centers, sigma, count=count, seed=seed, class_names=names)


@hookimpl
def ganforge_datasets() -> dict[str, type[Dataset]]:
    return {"gaussian-1d": Gaussian1D, "ring-8": Ring8, "grid-25": Grid25}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    # Small networks and many steps, since modes are narrow. Strong penalties first keep all modes; weak ones and low
    # rates then fit their width.
    weight, rate = "cosine:1:3e-5:6.7M", "cosine:1e-3:1e-5:10M"
    return {
        "mixture": Recipe(
            summary="Small fully connected networks that cover every mode of a mixture in the plane.",
            source="Huang et al. 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441 (its loss and penalties)",
            settings={
                "data": {"source": "ring-8"},
                "generator": {"name": "mlp", "z_dim": 2, "hidden": (128, 128, 128, 128)},
                "discriminator": {"name": "mlp", "hidden": (128, 128, 128)},
                "loss": {"name": "rpgan"},
                "regularizers": {"r1": {"weight": weight}, "r2": {"weight": weight}},
                "optimizer": {"generator_lr": rate, "discriminator_lr": rate, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 256, "images": 10_000_000},
            },
        )
    }
