"""R3GAN: a plain relativistic GAN with two gradient penalties on networks without normalisation.

Huang, Gokaslan, Kuleshov and Tompkin 2024, The GAN is dead; long live the GAN! A Modern Baseline GAN, arXiv:2501.05441.
Loss and penalties (``rpgan``, ``r1``, ``r2``) are ganforge's own; what is new are the networks and the schedules.
"""

from __future__ import annotations

from ganforge import Discriminator, Generator, Recipe, hookimpl

from ganforge_r3gan.networks import R3GANDiscriminator, R3GANGenerator
from ganforge_r3gan.recipes import RECIPES

__all__ = ["R3GANDiscriminator", "R3GANGenerator"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Offer the generator."""
    return {"r3gan": R3GANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Offer the discriminator."""
    return {"r3gan": R3GANDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Offer the recipes."""
    return RECIPES
