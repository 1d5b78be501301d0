"""BigGAN (Brock, Donahue and Simonyan 2019, arXiv:1809.11096), in small.

Each block of the generator has a part of the latents of its own. Truncation draws from a truncated normal distribution.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu
from torch.nn.utils.parametrizations import spectral_norm

from ganforge import DataSpec, Discriminator, Generator, Recipe, Regularizer, hookimpl, map_sizes, require_labels


def convolve(channels_in: int, channels_out: int, size: int = 3) -> nn.Conv2d:
    """Return an orthogonal convolution with spectral norm."""
    layer = nn.Conv2d(channels_in, channels_out, size, padding=size // 2)
    nn.init.orthogonal_(layer.weight)
    return spectral_norm(layer)


class ConditionalNorm(nn.Module):
    """Batch normalization whose scale and shift are linear in a condition ``[N, K]``."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale, self.shift = (nn.Linear(condition, channels, bias=False) for _ in range(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.norm(x) * (1 + self.scale(condition))[:, :, None, None] + self.shift(condition)[:, :, None, None]


class UpBlock(nn.Module):
    """Residual block that doubles the size."""

    def __init__(self, channels_in: int, channels_out: int, condition: int) -> None:
        super().__init__()
        self.first, self.second = ConditionalNorm(channels_in, condition), ConditionalNorm(channels_out, condition)
        self.conv1, self.conv2 = convolve(channels_in, channels_out), convolve(channels_out, channels_out)
        self.skip = convolve(channels_in, channels_out, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        larger = interpolate(relu(self.first(x, condition)), scale_factor=2.0)
        skip: Tensor = self.skip(interpolate(x, scale_factor=2.0))
        return skip + self.conv2(relu(self.second(self.conv1(larger), condition)))


class BigGenerator(Generator):
    """Residual blocks with hierarchical latents: a part for the first layer, and one for each block.

    Args:
        data: Images with classes.
        part: Latents of the first layer and of each block.
        width: Channels of the largest maps, doubled at each smaller size.
        embedding: Length of the embedding of a class, which all blocks share.
    """

    def __init__(self, data: DataSpec, *, part: int = 20, width: int = 64, embedding: int = 128) -> None:
        super().__init__()
        self.smallest, *others = map_sizes(data)
        self.part, self.z_dim = part, part * (len(others) + 1)
        self.embed = nn.Embedding(data.num_classes, embedding)
        channels = [width * 2 ** min(level, 4) for level in range(len(others) + 1)][::-1]
        self.first = nn.Linear(part, channels[0] * self.smallest[0] * self.smallest[1])
        self.blocks = nn.ModuleList(UpBlock(*each, embedding + part) for each in pairwise(channels))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), convolve(width, data.shape[0]))

    def forward(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Return images; truncation below 1 limits latents to twice its value."""
        if truncation < 1.0:
            least = torch.special.ndtr(torch.full_like(z, -2 * truncation))
            z = torch.special.ndtri(least + (1 - 2 * least) * torch.special.ndtr(z))
        parts = z.split(self.part, 1)
        classes = self.embed(require_labels(labels))
        x = self.first(parts[0]).unflatten(1, (-1, self.smallest[0], self.smallest[1]))
        for index, block in enumerate(self.blocks):
            x = block(x, torch.cat([classes, parts[index + 1]], 1))
        images: Tensor = torch.tanh(self.last(x))
        return images


class DownBlock(nn.Module):
    """Residual block that halves the size."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        before, after = convolve(channels_in, channels_out), convolve(channels_out, channels_out)
        self.layers = nn.Sequential(nn.ReLU(), before, nn.ReLU(), after)
        self.skip = convolve(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return avg_pool2d(self.layers(x) + self.skip(x), 2)


class BigDiscriminator(Discriminator):
    """Residual blocks, sum pooling, and a projection of the class (Miyato and Koyama 2018)."""

    def __init__(self, data: DataSpec, *, width: int = 64) -> None:
        super().__init__()
        channels = [data.shape[0], *(width * 2 ** min(level, 4) for level in range(len(map_sizes(data)) - 1))]
        self.blocks = nn.Sequential(*(DownBlock(*each) for each in pairwise(channels)))
        self.judge = spectral_norm(nn.Linear(channels[-1], 1))
        self.embed = spectral_norm(nn.Embedding(data.num_classes, channels[-1]))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features = relu(self.blocks(images)).sum((2, 3))
        return self.judge(features).squeeze(1) + (self.embed(labels) * features).sum(1)


class Orthogonal(Regularizer):
    """Penalty on the inner products of different filters of the generator (equation 3)."""

    weight = 1e-4

    def generator(self, step):
        total = step.images.fake.new_zeros(())
        for weight in (each for each in step.generator.parameters() if each.dim() == 4):
            products = weight.flatten(1) @ weight.flatten(1).T
            total = total + (products - products.diag().diag()).square().sum()
        return total


@hookimpl
def ganforge_generators():
    return {"biggan": BigGenerator}


@hookimpl
def ganforge_discriminators():
    return {"biggan": BigDiscriminator}


@hookimpl
def ganforge_regularizers():
    return {"orthogonal": Orthogonal}


@hookimpl
def ganforge_recipes():
    settings = {
        "generator": {"name": "biggan"},
        "discriminator": {"name": "biggan"},
        "loss": {"name": "hinge"},
        "regularizers": {"orthogonal": {}},
        "optimizer": {"generator_lr": 5e-5, "discriminator_lr": 2e-4, "beta1": 0.0, "beta2": 0.999},
        "training": {"batch": 64, "d_steps": 2},
    }
    return {"biggan": Recipe(summary="BigGAN in small.", source="arXiv:1809.11096", settings=settings)}
