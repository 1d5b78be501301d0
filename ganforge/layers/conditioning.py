"""Conditioning: labels in a network's input, in its normalization, and in a discriminator's head."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, one_hot

from ganforge.contract.data import DataSpec
from ganforge.contract.errors import OptionError
from ganforge.contract.networks import ClassifierDiscriminator


def label_dim(data: DataSpec, conditioning: str) -> int:
    """Return the width that labels add to a network's input, for `join_labels`.

    Args:
        data: Specification of the data.
        conditioning: Option of the network: ``none``, ``input``, or another method. ``norm`` and ``joint`` require
            classes.

    Returns:
        Number of classes, or length of a condition vector, for ``input``; else 0.

    Raises:
        ValueError: The network is conditional, and the data have no such labels.
    """
    if conditioning != "none" and not (data.num_classes or data.numbers):
        raise ValueError(
            f"conditioning={conditioning} needs labeled data, but these have no classes; "
            "sort images into one folder per class, or train without labels, as --arch dcgan and mlp do"
        )
    if data.numbers and conditioning in ("norm", "joint"):
        raise ValueError(
            f"conditioning={conditioning} needs classes, but these data have condition vectors; "
            "use conditioning=input, as --arch cdcgan, cgan and acgan do"
        )
    return (data.num_classes or len(data.numbers)) if conditioning == "input" else 0


def require_labels(labels: Tensor | None) -> Tensor:
    """Return labels that are not None. Scriptable.

    Raises:
        ValueError: Labels are None.
    """
    if labels is None:
        raise ValueError("this network is conditional: give labels")
    return labels


def join_labels(x: Tensor, labels: Tensor | None, num_classes: int, strength: float = 1.0) -> Tensor:
    """Concatenate labels to a network's input (Mirza and Osindero 2014, arXiv:1411.1784). Scriptable.

    Args:
        x: Vectors ``[N, D]``, or maps ``[N, C, H, W]``.
        labels: Classes ``[N]`` int64 in [0, num_classes), which become one-hot; or vectors ``[N, num_classes]`` of
            numbers of size 1, see `StandardizeLabels`.
        num_classes: K; 0 for an unconditional network, which returns `x`.
        strength: Value of the hot entry. A single 1 is negligible beside D numbers of size 1; sqrt(D) has their norm.
            Vectors are scaled to that norm too, but never down.

    Returns:
        ``[N, D + K]``, or ``[N, C + K, H, W]`` with constant maps.

    Raises:
        ValueError: Labels are None in a conditional network.
    """
    if num_classes == 0:
        return x
    given = require_labels(labels)
    if given.is_floating_point():
        joined = max(1.0, strength / num_classes**0.5) * given.to(x.dtype)
    else:
        joined = strength * one_hot(given, num_classes).to(x.dtype)
    if x.dim() == 4:
        joined = joined[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])
    return torch.cat([x, joined], dim=1)


class StandardizeLabels(nn.Module):
    """Standardize condition vectors by their mean and deviation in the data; classes pass unchanged. Scriptable."""

    def __init__(self, data: DataSpec) -> None:
        super().__init__()
        self.mean: Tensor | None
        self.std: Tensor | None
        for name in ("mean", "std"):
            values = [getattr(each, name) for each in data.numbers]
            self.register_buffer(name, torch.tensor(values) if values else None, persistent=False)

    def forward(self, labels: Tensor | None) -> Tensor | None:
        """Return vectors ``[N, K]`` with mean 0 and deviation 1, or unchanged classes ``[N]`` or None."""
        mean, std = self.mean, self.std
        if labels is None or mean is None or std is None:
            return labels
        return (labels - mean) / std


class LabelEmbedding(nn.Module):
    """Linear embedding of standardized condition vectors, the counterpart of ``nn.Embedding`` of classes. Scriptable.

    Weights start at ``N(0, 1 / K)``, so that embeddings have numbers of size 1.
    """

    def __init__(self, data: DataSpec, width: int) -> None:
        super().__init__()
        self.standardize = StandardizeLabels(data)
        self.weight = nn.Parameter(torch.randn(width, len(data.numbers)) * len(data.numbers) ** -0.5)

    def forward(self, labels: Tensor) -> Tensor:
        """Map vectors ``[N, K]`` to embeddings ``[N, width]``."""
        return linear(require_labels(self.standardize(labels)), self.weight)


def embed_labels(data: DataSpec, width: int) -> nn.Embedding | LabelEmbedding:
    """Return an embedding of classes ``[N]`` or vectors ``[N, K]`` to ``[N, width]`` with attribute ``weight``."""
    return LabelEmbedding(data, width) if data.numbers else nn.Embedding(data.num_classes, width)


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm with a scale and a shift per class (Dumoulin 2017, arXiv:1610.07629; de Vries 2017). Scriptable.

    Scales start at 1 and shifts at 0.
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
        """Normalize maps ``[N, C, H, W]`` over the batch, with scale and shift of each class ``[N]``."""
        classes = require_labels(labels)
        scale: Tensor = self.scale(classes)[:, :, None, None]
        shift: Tensor = self.shift(classes)[:, :, None, None]
        normal: Tensor = self.norm(x)
        return scale * normal + shift


class ConditionalSequential(nn.Sequential):
    """Sequential layers; those with an attribute ``takes_labels``, as `ConditionalBatchNorm2d`, get labels.
    Scriptable.
    """

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            # TorchScript does not always know the class for isinstance.
            x = layer(x, labels) if hasattr(layer, "takes_labels") else layer(x)
        return x


class ConditionalDiscriminator(ClassifierDiscriminator):
    """Discriminator with class conditioning; subclasses define `hidden` and `logits`.

    Methods of conditioning:

    - ``none``: no parameters are added;
    - ``input``: labels joined to the examples, see `join_labels`;
    - ``projection``: logit + <embedding of the label, features> (Miyato and Koyama 2018, arXiv:1802.05637);
    - ``auxiliary``: a classifier of the features beside the logit (Odena 2017, arXiv:1610.09585), or a linear
      regression of condition vectors;
    - ``joint``: a classifier of K classes and "generated" with logit 0, so that the discriminator's logit is log(sum of
      exp(logits)) (Salimans 2016, arXiv:1606.03498, section 5).

    Args:
        data: Shape and labels of the examples.
        conditioning: ``none``, ``input``, ``projection``, ``auxiliary`` or ``joint``.
        num_features: Width F of the last hidden layer.
        minibatch: Option of the network, see `make_minibatch_statistics`.

    Attributes:
        label_dim: Width that labels add to the input of `hidden`.
        joint: Whether the classifier computes the logit, so that `logits` is not called.
    """

    def __init__(self, data: DataSpec, conditioning: str, num_features: int, minibatch: str = "none") -> None:
        super().__init__()
        self.label_dim = label_dim(data, conditioning)
        self.standardize = StandardizeLabels(data)
        self.projection = embed_labels(data, num_features) if conditioning == "projection" else None
        classifies = conditioning in ("auxiliary", "joint")
        self.classifier = nn.Linear(num_features, data.num_classes or len(data.numbers)) if classifies else None
        self.joint = conditioning == "joint"
        if self.joint and minibatch != "none":
            raise ValueError(
                f"minibatch={minibatch} requires a separate logit, which conditioning=joint lacks: omit one of them"
            )
        if self.projection is not None:  # so that products with features of size 1 start at size 1
            nn.init.normal_(self.projection.weight, 0.0, (num_features * max(1, len(data.numbers))) ** -0.5)

    @abstractmethod
    def hidden(self, examples: Tensor) -> Tensor:
        """Return the last hidden layer ``[N, F]`` of examples whose dimension 1 holds `label_dim` labels more."""

    @abstractmethod
    def logits(self, features: Tensor) -> Tensor:
        """Return unconditional logits ``[N]`` from features ``[N, F]``; not called if `joint`."""

    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.hidden(join_labels(images, self.standardize(labels), self.label_dim))

    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.joint:
            return self.classify(features).logsumexp(1)
        logits = self.logits(features)
        if self.projection is None:
            return logits
        embedding: Tensor = self.projection(require_labels(labels))
        return logits + (embedding * features).sum(1)

    def classify(self, features: Tensor) -> Tensor:
        if self.classifier is None:
            raise OptionError(
                "the discriminator has no classifier", "--set discriminator.conditioning=auxiliary, or joint"
            )
        scores: Tensor = self.classifier(features)
        return scores

    def label_loss(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of classes, or the squared error of standardized vectors, summed over numbers."""
        if not labels.is_floating_point():
            return super().label_loss(features, labels)
        errors = self.classify(features) - require_labels(self.standardize(labels))
        return errors.square().sum(1).mean()
