"""SNGAN (Miyato 2018, arXiv:1802.05957; with classes arXiv:1802.05637) and SAGAN (Zhang 2019, arXiv:1805.08318)."""

from __future__ import annotations

from typing import Any

from ganforge import Discriminator, Generator, Recipe, hookimpl

from ganforge_sngan.networks import SNGANDiscriminator, SNGANGenerator

__all__ = ["SNGANDiscriminator", "SNGANGenerator"]

GANFORGE_API = 2
"""Version of the plugin contract."""


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"sngan": SNGANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"sngan": SNGANDiscriminator}


def settings(generator: dict[str, Any], discriminator: dict[str, Any], training: dict[str, Any]) -> dict[str, Any]:
    """Return settings with hinge loss and the Adam options of SNGAN's CIFAR-10 experiments, updated by `training`."""
    return {
        "generator": {"name": "sngan", **generator},
        "discriminator": {"name": "sngan", **discriminator},
        "loss": {"name": "hinge"},
        "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.0, "beta2": 0.9} | training,
        "training": {"batch": 64, "d_steps": 1 if training else 5},
    }


TIME_SCALES = {"generator_lr": 1e-4, "discriminator_lr": 4e-4}
"""SAGAN's two learning rates, instead of five discriminator steps."""

RECIPES = {
    "sngan": Recipe(
        summary="Residual networks, spectral normalization in the discriminator, five of its steps per generator step.",
        source="Miyato, Kataoka, Koyama and Yoshida 2018, Spectral Normalization for GANs, arXiv:1802.05957",
        settings=settings({}, {}, {}),
    ),
    "sngan-projection": Recipe(
        summary="SNGAN with classes: projection in the discriminator, conditional batch norm in the generator.",
        source="Miyato and Koyama 2018, cGANs with Projection Discriminator, arXiv:1802.05637",
        settings=settings({"conditioning": "norm"}, {"conditioning": "projection"}, {}),
    ),
    "sagan": Recipe(
        summary="SNGAN with self-attention at 16 pixels, spectral normalization in both networks, two learning rates.",
        source="Zhang, Goodfellow, Metaxas and Odena 2019, Self-Attention GANs, arXiv:1805.08318",
        settings=settings({"attention": 16, "spectral": True}, {"attention": 16}, TIME_SCALES),
    ),
}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipes."""
    return RECIPES
