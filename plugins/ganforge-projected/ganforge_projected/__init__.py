"""Projected GAN (Sauer, Chitta, Müller and Geiger 2021, arXiv:2111.01007) for ganforge."""

from __future__ import annotations

from ganforge import Discriminator, Recipe, hookimpl

from ganforge_projected.discriminator import ProjectedDiscriminator

GANFORGE_API = 2

__all__ = ["ProjectedDiscriminator"]


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"projected": ProjectedDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "projected": Recipe(
            summary="Discriminators on features of a frozen network, with a generator of DCGAN.",
            source="Sauer, Chitta, Müller and Geiger 2021, Projected GANs Converge Faster, arXiv:2111.01007",
            settings={
                "generator": {"name": "dcgan"},
                "discriminator": {"name": "projected"},
                "loss": {"name": "hinge"},
                "augmentations": {"diffaugment": {}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 64},
            },
            variants={"cpu": {"training": {"batch": 16}}},
        )
    }
