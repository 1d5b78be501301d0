"""Recipes of the Wasserstein GANs, for the networks of `dcgan`."""

from __future__ import annotations

from ganforge import Recipe, hookimpl


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "wgan": Recipe(
            summary="Wasserstein GAN with clipped weights.",
            source="Arjovsky, Chintala and Bottou 2017, Wasserstein GAN, arXiv:1701.07875 (Adam for RMSProp)",
            settings={
                "generator": {"name": "dcgan"},
                "discriminator": {"name": "dcgan"},
                "loss": {"name": "wasserstein"},
                "regularizers": {"clip": {"bound": 0.01}},
                "optimizer": {"generator_lr": 5e-5, "discriminator_lr": 5e-5, "beta1": 0.0, "beta2": 0.99},
                "training": {"batch": 64, "d_steps": 5},
            },
        ),
        "wgan-gp": Recipe(
            summary="Wasserstein GAN with gradient penalty: five critic steps, layer norm in the critic.",
            source="Gulrajani et al. 2017, Improved Training of Wasserstein GANs, arXiv:1704.00028",
            settings={
                "generator": {"name": "dcgan"},
                "discriminator": {"name": "dcgan", "normalization": "layer"},
                "loss": {"name": "wasserstein"},
                "regularizers": {"gp": {"weight": 10}},
                "optimizer": {"generator_lr": 1e-4, "discriminator_lr": 1e-4, "beta1": 0.0, "beta2": 0.9},
                "training": {"batch": 64, "d_steps": 5},
            },
        ),
    }
