"""How a network learns of classes: labels joined to its input, in its normalisation, and at a discriminator's end."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import ClassifierDiscriminator


def label_dim(data: DataSpec, conditioning: str) -> int:
    """How much wider labels make a network's input, for `join_labels`.

    Args:
        data: What the network is to make or to judge.
        conditioning: The network's option: ``none``, ``input``, or another way that needs classes.

    Returns:
        The number of classes if labels are joined to the input, else 0.

    Raises:
        ValueError: The network is conditional, and the data have no classes.
    """
    if conditioning != "none" and not data.num_classes:
        raise ValueError(
            f"conditioning={conditioning} needs labelled data, but these have no classes; "
            "sort images into one folder a class, or train without labels, as --arch dcgan and mlp do"
        )
    return data.num_classes if conditioning == "input" else 0


def require_labels(labels: Tensor | None) -> Tensor:
    """The labels of a conditional network. Scriptable.

    Raises:
        ValueError: There are none.
    """
    if labels is None:
        raise ValueError("this network is conditional: give labels")
    return labels


def join_labels(x: Tensor, labels: Tensor | None, num_classes: int, strength: float = 1.0) -> Tensor:
    """Join one-hot labels to a network's input (Mirza and Osindero 2014, arXiv:1411.1784). Scriptable.

    Args:
        x: Vectors ``[N, D]``, or maps ``[N, C, H, W]``.
        labels: Classes ``[N]`` int64 in [0, num_classes).
        num_classes: K; 0 for an unconditional network, whose input stays as it is.
        strength: What stands in the place of the class. A single 1 among a thousand numbers is not heard; sqrt(D) is as
            long as D numbers of size 1.

    Returns:
        ``[N, D + K]``, or ``[N, C + K, H, W]`` with the strength all over the map of each example's class.

    Raises:
        ValueError: Labels are None in a conditional network.
    """
    if num_classes == 0:
        return x
    joined = strength * one_hot(require_labels(labels), num_classes).to(x.dtype)
    if x.dim() == 4:
        joined = joined[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
    return torch.cat([x, joined], dim=1)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift for each class (Dumoulin 2017, arXiv:1610.07629; de Vries 2017). Scriptable.

    Scales begin at 1 and shifts at 0, alike for all classes.

    Args:
        channels: C of the maps.
        num_classes: Number of classes.
    """

    def __init__(self, channels: int, num_classes: int) -> None:
        super().__init__()
        self.takes_labels = True
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(num_classes, channels)
        self.shift = nn.Embedding(num_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Normalise maps ``[N, C, H, W]`` over the batch, then scale and shift each by its class ``[N]``.

        Raises:
            ValueError: Labels are None.
        """
        classes = require_labels(labels)
        scale: Tensor = self.scale(classes)[:, :, None, None]
        shift: Tensor = self.shift(classes)[:, :, None, None]
        normal: Tensor = self.norm(x)
        return scale * normal + shift


class ConditionalSequential(nn.Sequential):
    """Layers in a row; one with an attribute ``takes_labels``, as `ConditionalBatchNorm2d`, is given the labels too.

    Scriptable.
    """

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pass x ``[N, ...]`` and classes ``[N]`` through all layers."""
        for layer in self:
            # An attribute, since TorchScript does not always know the class for an isinstance.
            x = layer(x, labels) if hasattr(layer, "takes_labels") else layer(x)
        return x


class ConditionalDiscriminator(ClassifierDiscriminator):
    """A discriminator that learns of classes in one of these ways, or not at all; a network brings its layers.

    Without conditioning it has no parameters of its own. The ways:

    - ``input``: labels joined to the examples, see `join_labels`;
    - ``projection``: logit + <embedding of the class, features> (Miyato and Koyama 2018, arXiv:1802.05637);
    - ``auxiliary``: a classifier of the features beside the logit (Odena 2017, arXiv:1610.09585);
    - ``joint``: "generated" is one class more, of score 0, beside the K of the classifier, so that the logit is
      log(sum of exp(scores)) (Salimans 2016, arXiv:1606.03498, section 5).

    Args:
        data: Shape and classes of the examples.
        conditioning: ``none``, ``input``, ``projection``, ``auxiliary`` or ``joint``.
        num_features: F of the last hidden layer.
        minibatch: The network's option of that name, see `make_minibatch_statistics`.

    Attributes:
        label_dim: How much wider labels make the input of `hidden`.
        joint: Whether the logit comes from the scores of the classes, so that `logits` is never asked for.
    """

    def __init__(self, data: DataSpec, conditioning: str, num_features: int, minibatch: str = "none") -> None:
        super().__init__()
        self.label_dim = label_dim(data, conditioning)
        self.projection = nn.Embedding(data.num_classes, num_features) if conditioning == "projection" else None
        classifies = conditioning in ("auxiliary", "joint")
        self.classifier = nn.Linear(num_features, data.num_classes) if classifies else None
        self.joint = conditioning == "joint"
        if self.joint and minibatch != "none":
            raise ValueError(
                f"minibatch={minibatch} is told to a logit of its own, but conditioning=joint has none: leave one out"
            )
        if self.projection is not None:  # so that products with features of size 1 begin with size 1
            nn.init.normal_(self.projection.weight, 0.0, num_features**-0.5)

    @abstractmethod
    def hidden(self, examples: Tensor) -> Tensor:
        """The last hidden layer ``[N, F]`` of examples to which labels are joined: dimension 1 has `label_dim` more."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Logits ``[N]`` from features ``[N, F]``, whatever the class; not called if `joint`."""

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden layer ``[N, F]`` of examples ``[N, ...]`` of classes ``[N]``."""
        return self.hidden(join_labels(images, labels, self.label_dim))

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[N]`` from features ``[N, F]``, by projection or from the scores of the classes if so made."""
        if self.joint:
            return self.classify(features).logsumexp(1)
        logits = self.logits(features)
        if self.projection is None:
            return logits
        embedding: Tensor = self.projection(require_labels(labels))
        return logits + (embedding * features).sum(1)

    def classify(self, features: Tensor) -> Tensor:
        """Scores ``[N, K]``; see `ClassifierDiscriminator`."""
        if self.classifier is None:
            raise OptionError(
                "the discriminator has no classifier", "--set discriminator.conditioning=auxiliary, or joint"
            )
        scores: Tensor = self.classifier(features)
        return scores
