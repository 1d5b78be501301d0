"""PixelCNN++ (Salimans, Karpathy, Chen and Kingma 2017, arXiv:1701.05517) for ganforge."""

from __future__ import annotations

from ganforge import Generator, Recipe, Regularizer, hookimpl

from ganforge_pixelcnn.likelihood import Likelihood
from ganforge_pixelcnn.network import PixelCNN

GANFORGE_API = 2

__all__ = ["Likelihood", "PixelCNN"]


@hookimpl
def ganforge_generators() -> dict[str, type[Generator]]:
    """Return the generator."""
    return {"pixelcnn": PixelCNN}


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Return the regularizer."""
    return {"likelihood": Likelihood}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Return the recipe."""
    return {
        "pixelcnn": Recipe(
            summary="Images pixel by pixel, by maximum likelihood; no discriminator.",
            source="Salimans, Karpathy, Chen and Kingma 2017, PixelCNN++: Improving the PixelCNN with Discretized "
            "Logistic Mixture Likelihood and Other Modifications, arXiv:1701.05517",
            settings={
                "generator": {"name": "pixelcnn"},
                "regularizers": {"likelihood": {}},
                "optimizer": {"generator_lr": 1e-3, "beta1": 0.95, "beta2": 0.9995},
                "training": {"d_steps": 0, "batch": 16, "samples": 16, "tick_images": 5_000},
            },
        )
    }
