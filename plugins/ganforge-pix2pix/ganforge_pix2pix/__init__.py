"""Image-to-image translation with paired data (Isola, Zhu, Zhou and Efros 2017, arXiv:1611.07004) for ganforge."""

from __future__ import annotations

from typing import Any

from ganforge import Discriminator, Generator, Recipe, Regularizer, hookimpl

from ganforge_pix2pix.folder import PairFolder
from ganforge_pix2pix.l1 import L1
from ganforge_pix2pix.outlines import Outlines
from ganforge_pix2pix.patchgan import PatchGAN
from ganforge_pix2pix.unet import UNet

GANFORGE_API = 2

__all__ = ["L1", "Outlines", "PairFolder", "PatchGAN", "UNet"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"unet": UNet}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"patchgan": PatchGAN}


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Return the regularizer."""
    return {"l1": L1}


@hookimpl
def ganforge_datasets() -> dict[str, Any]:
    """Return the data sets."""
    return {"outlines": Outlines, "pix2pix-folder": PairFolder}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "pix2pix": Recipe(
            summary="Image-to-image translation: a U-Net, a patch discriminator and L1, on paired data.",
            source="Isola, Zhu, Zhou and Efros 2017, Image-to-Image Translation with Conditional Adversarial Networks, "
            "arXiv:1611.07004",
            settings={
                "generator": {"name": "unet"},
                "discriminator": {"name": "patchgan"},
                "loss": {"name": "nonsat"},
                "regularizers": {"l1": {"weight": 100}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 4, "samples": 24},
            },
        )
    }
