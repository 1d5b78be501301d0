"""WaveGAN (Donahue, McAuley and Puckette 2019, arXiv:1802.04208) for ganforge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganforge import Discriminator, Generator, Recipe, hookimpl

from ganforge_wavegan.command import render
from ganforge_wavegan.networks import PhaseShuffle, WaveDiscriminator, WaveGenerator
from ganforge_wavegan.notes import Notes
from ganforge_wavegan.waves import Waves

GANFORGE_API = 2

__all__ = ["Notes", "PhaseShuffle", "WaveDiscriminator", "WaveGenerator", "Waves"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"wavegan": WaveGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"wavegan": WaveDiscriminator}


@hookimpl
def ganforge_datasets() -> dict[str, Any]:
    """Return the data sets."""
    return {"notes": Notes, "waves": Waves}


@hookimpl
def ganforge_commands() -> dict[str, Callable[..., Any]]:
    """Return the command."""
    return {"wavegan": render}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "wavegan": Recipe(
            summary="Raw audio: convolutions in one dimension, phase shuffle, Wasserstein loss with gradient penalty.",
            source="Donahue, McAuley and Puckette 2019, Adversarial Audio Synthesis, arXiv:1802.04208",
            settings={
                "generator": {"name": "wavegan"},
                "discriminator": {"name": "wavegan"},
                "loss": {"name": "wasserstein"},
                "regularizers": {"gp": {"weight": 10}},
                "optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "beta1": 0.5, "beta2": 0.9},
                "training": {"batch": 64, "d_steps": 5, "samples": 16},
            },
        )
    }
