"""InfoGAN (Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel 2016, arXiv:1606.03657) for ganforge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganforge import Discriminator, Generator, Recipe, Regularizer, hookimpl

from ganforge_infogan.command import draw
from ganforge_infogan.information import Information
from ganforge_infogan.networks import CodeDiscriminator, CodeGenerator

GANFORGE_API = 2

__all__ = ["CodeDiscriminator", "CodeGenerator", "Information"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"infogan": CodeGenerator}


@hookimpl
def ganforge_discriminators() -> dict[str, type[Discriminator]]:
    """Return the discriminator."""
    return {"infogan": CodeDiscriminator}


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Return the regularizer."""
    return {"information": Information}


@hookimpl
def ganforge_commands() -> dict[str, Callable[..., Any]]:
    """Return the command."""
    return {"infogan": draw}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "infogan": Recipe(
            summary="Codes without labels: a category and continuous numbers that the images must reveal.",
            source="Chen, Duan, Houthooft, Schulman, Sutskever and Abbeel 2016, InfoGAN: Interpretable Representation "
            "Learning by Information Maximizing Generative Adversarial Nets, arXiv:1606.03657",
            settings={
                "generator": {"name": "infogan"},
                "discriminator": {"name": "infogan"},
                "loss": {"name": "nonsat"},
                "regularizers": {"information": {}},
                "optimizer": {"generator_lr": 1e-3, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 64, "samples": 100},
            },
        )
    }
