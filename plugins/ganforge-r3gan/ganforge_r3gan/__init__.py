"""R3GAN: a relativistic GAN with two gradient penalties and networks without normalization.

Huang, Gokaslan, Kuleshov and Tompkin 2024, The GAN is dead; long live the GAN! A Modern Baseline GAN, arXiv:2501.05441.
Loss and penalties (``rpgan``, ``r1``, ``r2``) are part of ganforge; this package adds networks and schedules.
"""

from __future__ import annotations

from ganforge import Discriminator, Generator, Importer, Recipe, hookimpl

from ganforge_r3gan.importer import R3GANImporter
from ganforge_r3gan.networks import R3GANDiscriminator, R3GANGenerator
from ganforge_r3gan.recipes import RECIPES

__all__ = ["R3GANDiscriminator", "R3GANGenerator", "R3GANImporter"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"r3gan": R3GANGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"r3gan": R3GANDiscriminator}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipes."""
    return RECIPES


@hookimpl
def ganforge_importers() -> dict[str, type[Importer]]:
    """Return the importer."""
    return {"r3gan": R3GANImporter}
