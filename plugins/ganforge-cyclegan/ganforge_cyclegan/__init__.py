"""Image-to-image translation without pairs (Zhu, Park, Isola and Efros 2017, arXiv:1703.10593) for ganforge."""

from __future__ import annotations

from ganforge import Discriminator, Generator, Recipe, Regularizer, hookimpl

from ganforge_cyclegan.cycle import Cycle
from ganforge_cyclegan.networks import Patches, Translator

GANFORGE_API = 2

__all__ = ["Cycle", "Patches", "Translator"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"translator": Translator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"patches": Patches}


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Return the regularizer."""
    return {"cycle": Cycle}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "cyclegan": Recipe(
            summary="Image-to-image translation without pairs: two translators that undo each other.",
            source="Zhu, Park, Isola and Efros 2017, Unpaired Image-to-Image Translation using Cycle-Consistent "
            "Adversarial Networks, arXiv:1703.10593",
            settings={
                "generator": {"name": "translator"},
                "discriminator": {"name": "patches"},
                "networks": {
                    "back": {"player": "generator", "name": "translator", "data": "sources"},
                    "judge": {"player": "discriminator", "name": "patches", "data": "sources"},
                },
                "loss": {"name": "lsgan"},
                "regularizers": {"cycle": {}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 4, "samples": 24},
            },
        )
    }
