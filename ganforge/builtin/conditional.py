"""Conditional GANs: recipes for the networks of `mlp` and `dcgan`, and the regularizer of AC-GAN."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ganforge import ClassifierDiscriminator, OptionError, Recipe, Regularizer, Step, hookimpl


def require_classifier(step: Step, name: str, labels: Any) -> ClassifierDiscriminator:
    """Return the discriminator of a step; raise an OptionError if it has no classifier, or labels are None."""
    network = step.discriminator
    if not isinstance(network, ClassifierDiscriminator):
        raise OptionError(
            f"regularizer '{name}': {type(network).__name__} has no classifier",
            "use a discriminator with a classifier, such as --discriminator dcgan",
        )
    if labels is None:
        raise OptionError(f"regularizer '{name}': the data have no classes", "use labeled data or omit it")
    return network


class AuxiliaryClassifier(Regularizer):
    """Auxiliary classification loss of both players (AC-GAN, Odena 2017, arXiv:1610.09585): E[-log P(class | example)].

    Of condition vectors it is the squared error of standardized numbers, summed over the numbers, which the
    discriminator learns from real examples only (StarGAN, Choi 2018, arXiv:1711.09020). It requires labeled data and a
    discriminator with a classifier, such as those with ``conditioning=auxiliary``.
    """

    def discriminator(self, step: Step) -> Tensor:
        real = self._label_loss(step, "real")
        if step.labels is not None and step.labels.is_floating_point():
            return real  # else the players agree on hidden codes of numbers
        return real + self._label_loss(step, "fake")

    def generator(self, step: Step) -> Tensor:
        return self._label_loss(step, "fake")

    @staticmethod
    def _label_loss(step: Step, side: str) -> Tensor:
        network = require_classifier(step, "auxiliary", step.labels)
        assert step.labels is not None
        return network.label_loss(getattr(step.features, side), step.labels)


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    return {"auxiliary": AuxiliaryClassifier}


def _settings(
    networks: str, generator: str, discriminator: str, normalization: str | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "generator": {"name": networks, "conditioning": generator},
        "discriminator": {
            "name": networks,
            "conditioning": discriminator,
            **({"normalization": normalization} if normalization else {}),
        },
        "loss": {"name": "nonsat"},
        "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
        # Small batches learn labels faster: 96 % of digits after 80,000 images with 32, 87 % after 130,000 with 128.
        "training": {"batch": 32},
        **more,
    }


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "cgan": Recipe(
            summary="Conditional GAN: fully connected networks, classes joined to both inputs.",
            source="Mirza and Osindero 2014, Conditional Generative Adversarial Nets, arXiv:1411.1784 (Adam for SGD)",
            settings=_settings("mlp", "input", "input"),
        ),
        "cdcgan": Recipe(
            summary="Conditional DCGAN: convolutional networks, classes joined to both inputs.",
            source="Mirza and Osindero 2014, arXiv:1411.1784, with the networks of DCGAN (2016)",
            settings=_settings("dcgan", "input", "input"),
        ),
        "acgan": Recipe(
            summary="AC-GAN: a discriminator that also classifies, and an auxiliary loss of both players.",
            source="Odena, Olah and Shlens 2017, Conditional Image Synthesis with Auxiliary Classifier GANs, "
            "arXiv:1610.09585",
            settings=_settings("dcgan", "input", "auxiliary", regularizers={"auxiliary": {"weight": 1}}),
        ),
        "projection": Recipe(
            summary="Projection discriminator: class embeddings times features, spectral norm, conditional batch norm.",
            source="Miyato and Koyama 2018, cGANs with Projection Discriminator, arXiv:1802.05637 "
            "(with DCGAN's networks)",
            settings=_settings("dcgan", "norm", "projection", "spectral", loss={"name": "hinge"}),
        ),
    }
