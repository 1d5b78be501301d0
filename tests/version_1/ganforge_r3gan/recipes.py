"""The recipes: one for any machine, and the paper's (its appendix on hyperparameters), as far as ganforge has them."""

from __future__ import annotations

from typing import Any

from ganforge import Recipe

SOURCE = "Huang, Gokaslan, Kuleshov and Tompkin 2024, The GAN is dead; long live the GAN!, arXiv:2501.05441"

BURN_IN = 20_000_000
"""Images over which the paper brings its schedules to their ends, but for ImageNet."""


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
    """A recipe.

    Args:
        summary: What it is, in a line.
        width: Channels of maps up to 32 x 32.
        batch: Images a step.
        gamma: Weight of both penalties, at first and at last.
        lr: Learning rate, at first and at last.
        half_life: Of the average at last, in images.
        augment: Share of images that are changed at last.
        images: Over which all of these go from first to last.
        conditional: Whether classes are told.
    """

    def way(start: float, end: float) -> str:
        return f"cosine:{start}:{end}:{images}"

    settings: dict[str, Any] = {
        "generator": {"name": "r3gan", "width": width},
        "discriminator": {"name": "r3gan", "width": width},
        "loss": {"name": "rpgan"},
        "regularizers": {"r1": {"weight": way(*gamma)}, "r2": {"weight": way(*gamma)}},
        "augmentations": {"flip": {}},
        "optimizer": {"generator_lr": way(*lr), "discriminator_lr": way(*lr), "beta1": 0.0, "beta2": way(0.9, 0.99)},
        "training": {"batch": batch, "ema_images": half_life},
    }
    if augment:
        settings["augmentations"] |= {"diffaugment": {"probability": way(0, augment)}}
    if conditional:
        settings["generator"]["conditioning"] = "input"
        settings["discriminator"]["conditioning"] = "projection"
    return Recipe(summary=summary, source=SOURCE, settings=settings)


RECIPES = {
    "r3gan": recipe(
        "R3GAN with 128 channels, for images to 64 pixels and any machine; the paper's are much wider.",
        width=128,
        batch=64,
        gamma=(0.05, 0.005),
        lr=(2e-4, 5e-5),
        half_life=10_000,
        augment=0.0,
        images=5_000_000,
    ),
    "r3gan-cifar10": recipe(
        "The paper's for CIFAR-10, told its classes: 768 channels at 32 pixels; days on a large GPU.",
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
