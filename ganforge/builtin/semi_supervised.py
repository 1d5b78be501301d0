"""A classifier from few labels and many images (Salimans 2016, arXiv:1606.03498, section 5)."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from ganforge import ClassifierDiscriminator, OptionError, Recipe, Regularizer, Step, hookimpl


class SemiSupervised(Regularizer):
    """The discriminator learns the classes of the real examples whose labels may be used: E[-log P(class | x)].

    With ``conditioning=joint`` the classes and "generated" share one softmax, so that all other real examples, which
    are of some class, and generated ones, which are of none, teach the same classifier. ``training.labels`` says of how
    many examples the labels may be used.
    """

    def discriminator(self, step: Step) -> Tensor:
        """Cross-entropy of the classes of labelled real examples; a scalar.

        Raises:
            OptionError: The discriminator has no classifier, or the data no classes.
        """
        network = step.discriminator
        if not isinstance(network, ClassifierDiscriminator):
            raise OptionError(
                f"regularizer 'semi-supervised': {type(network).__name__} has no classifier",
                "use a discriminator that has one, such as --discriminator dcgan",
            )
        if step.labelled is None:
            raise OptionError(
                "regularizer 'semi-supervised': the data have no classes", "give labelled data or leave it out"
            )
        images, labels = step.labelled
        return cross_entropy(network.classify(network.features(step.augment(images), labels)), labels)


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    """Offer the regulariser."""
    return {"semi-supervised": SemiSupervised}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    """Offer the recipe."""
    return {
        "semi-supervised": Recipe(
            summary="A classifier from 100 labels and all images: K classes and 'generated' in one softmax.",
            source="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498 (DCGAN's networks)",
            settings={
                "generator": {"name": "dcgan", "width": 32},
                # Not batch norm: real, generated and labelled batches differ, and single images are classified.
                "discriminator": {"name": "dcgan", "width": 32, "conditioning": "joint", "normalization": "layer"},
                "loss": {"name": "nonsat"},
                "regularizers": {"semi-supervised": {"weight": 1}, "feature-matching": {"weight": 1}},
                "augmentations": {"diffaugment": {"policy": ("translation",)}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 32, "labels": 100, "holdout": 0.1},
            },
        )
    }
