"""FastGAN (Liu, Zhu, Song and Elgammal 2021, arXiv:2101.04775) for ganforge."""

from __future__ import annotations

from ganforge import Discriminator, Generator, Recipe, Regularizer, hookimpl

from ganforge_fastgan.networks import FastGANDiscriminator, FastGANGenerator
from ganforge_fastgan.reconstruction import Reconstruction

GANFORGE_API = 2

__all__ = ["FastGANDiscriminator", "FastGANGenerator", "Reconstruction"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"fastgan": FastGANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"fastgan": FastGANDiscriminator}


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Return the regularizer."""
    return {"reconstruction": Reconstruction}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "fastgan": Recipe(
            summary="Few images: skip-layer excitation, and a discriminator that reconstructs what it sees.",
            source="Liu, Zhu, Song and Elgammal 2021, Towards Faster and Stabilized GAN Training for High-fidelity "
            "Few-shot Image Synthesis, arXiv:2101.04775",
            settings={
                "generator": {"name": "fastgan"},
                "discriminator": {"name": "fastgan"},
                "loss": {"name": "hinge"},
                "regularizers": {"reconstruction": {}},
                "augmentations": {"diffaugment": {"policy": ["color", "translation"]}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                # A decay of 0.999 a step of 8 images has this half-life.
                "training": {"batch": 8, "ema_images": 5500},
            },
        )
    }
