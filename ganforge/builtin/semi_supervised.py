"""Semi-supervised classification (Salimans 2016, arXiv:1606.03498, section 5)."""

from __future__ import annotations

from torch import Tensor

from ganforge import Recipe, Regularizer, Step, hookimpl
from ganforge.builtin.conditional import require_classifier


class SemiSupervised(Regularizer):
    """Classification loss on labeled real examples: E[-log P(class | x)].

    With ``conditioning=joint`` the classes and "generated" share one softmax, so that unlabeled and generated examples
    train the same classifier. ``training.labels`` is the number of labeled examples.
    """

    def discriminator(self, step: Step) -> Tensor:
        network = require_classifier(step, "semi-supervised", step.labelled)
        assert step.labelled is not None
        images, labels = step.labelled
        return network.label_loss(network.features(step.augment(images), labels), labels)


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    return {"semi-supervised": SemiSupervised}


@hookimpl
def ganforge_recipes() -> dict[str, Recipe]:
    return {
        "semi-supervised": Recipe(
            summary="A classifier from 100 labels and all images: K classes and 'generated' in one softmax.",
            source="Salimans et al. 2016, Improved Techniques for Training GANs, arXiv:1606.03498 (DCGAN's networks)",
            settings={
                "generator": {"name": "dcgan", "width": 32},
                # No batch norm: real, generated and labeled batches differ, and single images are classified.
                "discriminator": {"name": "dcgan", "width": 32, "conditioning": "joint", "normalization": "layer"},
                "loss": {"name": "nonsat"},
                "regularizers": {"semi-supervised": {"weight": 1}, "feature-matching": {"weight": 1}},
                "augmentations": {"diffaugment": {"policy": ("translation",)}},
                "optimizer": {"generator_lr": 2e-4, "discriminator_lr": 2e-4, "beta1": 0.5, "beta2": 0.999},
                "training": {"batch": 32, "labels": 100, "holdout": 0.1},
            },
        )
    }
