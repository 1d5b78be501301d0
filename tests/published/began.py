"""BEGAN (Berthelot, Schumm and Metz 2017, arXiv:1703.10717): the discriminator is an autoencoder.

A logit is a negative reconstruction error, and the loss balances both players by its buffer k.
"""

import math

import torch
from torch import Tensor, nn

from ganforge import DataSpec, Discriminator, Generator, Loss, Pair, Recipe, hookimpl, map_sizes


def block(channels_in: int, channels_out: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride, padding=1), nn.ELU()]


class Decoder(Generator):
    """Convolutions of equal width from a vector to an image, with nearest-neighbor upsampling.

    Args:
        data: Images.
        z_dim: Length of the vector.
        width: Channels of all maps.
    """

    def __init__(self, data: DataSpec, *, z_dim: int = 64, width: int = 64) -> None:
        super().__init__()
        self.z_dim = z_dim
        smallest, *others = map_sizes(data)
        layers: list[nn.Module] = [nn.Linear(z_dim, width * math.prod(smallest)), nn.Unflatten(1, (width, *smallest))]
        for _ in others:
            layers += [*block(width, width), *block(width, width), nn.Upsample(scale_factor=2)]
        self.layers = nn.Sequential(
            *layers, *block(width, width), *block(width, width), nn.Conv2d(width, data.shape[0], 3, padding=1)
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.layers(z)
        return images


class AutoencodingDiscriminator(Discriminator):
    """Autoencoder whose logit is the negative mean absolute error of the reconstruction.

    Args:
        data: Images.
        code: Length of the code.
        width: Channels at full size; those of smaller maps rise linearly.
    """

    def __init__(self, data: DataSpec, *, code: int = 64, width: int = 64) -> None:
        super().__init__()
        smallest, *others = map_sizes(data)
        layers = block(data.shape[0], width)
        for level in range(1, len(others) + 1):
            layers += [*block(level * width, level * width), *block(level * width, (level + 1) * width, stride=2)]
        flat = (len(others) + 1) * width * math.prod(smallest)
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, code))
        self.decoder = Decoder(data, z_dim=code, width=width)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return -(images - self.decoder(self.encoder(images))).abs().flatten(1).mean(1)


class Balance(Loss):
    """Errors of real and of generated images, whose ratio the buffer k controls (equation 4).

    Args:
        diversity: Ratio gamma of the errors of generated and of real images.
        rate: Rate lambda at which k changes.
    """

    def __init__(self, *, diversity: float = 0.5, rate: float = 0.001) -> None:
        super().__init__()
        self.diversity, self.rate = diversity, rate
        self.k: Tensor
        self.register_buffer("k", torch.zeros(()))

    def discriminator(self, logits: Pair) -> Tensor:
        real, fake = -logits.real.mean(), -logits.fake.mean()
        loss = real - self.k.clone() * fake  # a copy, since the next line changes k before the backward pass
        with torch.no_grad():
            self.k.copy_((self.k + self.rate * (self.diversity * real - fake)).clamp(0, 1))
        return loss

    def generator(self, logits: Pair) -> Tensor:
        return -logits.fake.mean()


@hookimpl
def ganforge_generators():
    return {"began": Decoder}


@hookimpl
def ganforge_discriminators():
    return {"began": AutoencodingDiscriminator}


@hookimpl
def ganforge_losses():
    return {"balance": Balance}


@hookimpl
def ganforge_recipes():
    settings = {
        "generator": {"name": "began"},
        "discriminator": {"name": "began"},
        "loss": {"name": "balance"},
        "optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "beta1": 0.5, "beta2": 0.999},
        "training": {"batch": 16},
    }
    return {"began": Recipe(summary="BEGAN.", source="arXiv:1703.10717", settings=settings)}
