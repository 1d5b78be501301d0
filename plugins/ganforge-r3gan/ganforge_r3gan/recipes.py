"""Recipes: one for any machine, and those of the paper's appendix on hyperparameters."""

from __future__ import annotations

from typing import Any

from ganforge import Recipe

SOURCE = "Huang, Gokaslan, Kuleshov and Tompkin 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441"

BURN_IN = 20_000_000
"""Length of the paper's schedules in images, except for ImageNet."""


def recipe(
    summary: str,
    *,
    width: int,
    batch: int,
    gamma: tuple[float, float],
    lr: tuple[float, float],
    half_life: int,
    augment: float,
    images: int,
    conditional: bool = False,
) -> Recipe:
    """Return a recipe.

    Args:
        summary: Description in one line.
        width: Channels of maps up to 32 x 32.
        batch: Images per step.
        gamma: Weight of both penalties: start and end.
        lr: Learning rate: start and end.
        half_life: Half-life of the EMA, in images.
        augment: Share of augmented images at the end.
        images: Length of all schedules, in images.
        conditional: Whether the networks are conditional.
    """

    def schedule(start: float, end: float) -> str:
        return f"cosine:{start}:{end}:{images}"

    settings: dict[str, Any] = {
        "generator": {"name": "r3gan", "width": width},
        "discriminator": {"name": "r3gan", "width": width},
        "loss": {"name": "rpgan"},
        "regularizers": {"r1": {"weight": schedule(*gamma)}, "r2": {"weight": schedule(*gamma)}},
        "augmentations": {"flip": {}},
        "optimizer": {
            "generator_lr": schedule(*lr),
            "discriminator_lr": schedule(*lr),
            "beta1": 0.0,
            "beta2": schedule(0.9, 0.99),
        },
        "training": {"batch": batch, "ema_images": half_life},
    }
    if augment:
        settings["augmentations"] |= {"diffaugment": {"probability": schedule(0, augment)}}
    if conditional:
        settings["generator"]["conditioning"] = "input"
        settings["discriminator"]["conditioning"] = "projection"
    return Recipe(summary=summary, source=SOURCE, settings=settings)


RECIPES = {
    "r3gan": recipe(
        "R3GAN with 128 channels, for any machine and images up to 64 pixels; the paper's are much wider.",
        width=128,
        batch=64,
        gamma=(0.05, 0.005),
        lr=(2e-4, 5e-5),
        half_life=10_000,
        augment=0.0,
        images=5_000_000,
    ),
    "r3gan-cifar10": recipe(
        "The paper's for CIFAR-10, with classes: 768 channels at 32 pixels; days on a large GPU.",
        width=768,
        batch=512,
        gamma=(0.05, 0.005),
        lr=(2e-4, 5e-5),
        half_life=5_000_000,
        augment=0.55,
        images=BURN_IN,
        conditional=True,
    ),
    "r3gan-ffhq64": recipe(
        "The paper's for FFHQ at 64 pixels.",
        width=768,
        batch=256,
        gamma=(2.0, 0.2),
        lr=(2e-4, 5e-5),
        half_life=500_000,
        augment=0.3,
        images=BURN_IN,
    ),
    "r3gan-ffhq256": recipe(
        "The paper's for FFHQ at 256 pixels.",
        width=768,
        batch=256,
        gamma=(150.0, 15.0),
        lr=(2e-4, 5e-5),
        half_life=500_000,
        augment=0.3,
        images=BURN_IN,
    ),
}
