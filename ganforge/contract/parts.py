"""Interfaces of losses, regularizers, augmentations and recipes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from ganforge.contract.networks import Discriminator
from ganforge.contract.step import Pair, Step


class Loss(nn.Module, ABC):
    """Scalars of logits that generator and discriminator minimize.

    A loss reads only the logits that it needs: without ``logits.real`` in the generator's term, that forward pass is
    skipped. Use numerically stable forms, such as softplus. A loss never steps, logs or detaches.

    Both methods return a tensor of shape ``[]`` with a gradient. Buffers, such as a running mean, are saved with the
    run. Parameters are trained with the discriminator.
    """

    @abstractmethod
    def discriminator(self, logits: Pair) -> Tensor:
        """Return the discriminator's loss, a scalar, from logits ``[N]`` of real and generated examples."""

    @abstractmethod
    def generator(self, logits: Pair) -> Tensor:
        """Return the generator's loss, a scalar; ``logits.real`` has no gradient to the generator."""


class Regularizer(nn.Module):
    """A penalty added to a player's loss, computed from the `Step`.

    Implement one method or both. Results are multiplied by the weight, and by ``every`` on the steps that compute them
    (lazy regularization), so that the expected gradient stays the same. The constructor is
    ``__init__(self, *, options...)``, or ``__init__(self, data: DataSpec, *, options...)``.

    Buffers are saved with the run; register them in the constructor. Parameters are trained with the discriminator by
    its gradients, or with the generator if only `generator` is implemented.
    """

    weight: ClassVar[float] = 1.0
    """Default weight; ``--reg NAME:weight=10`` sets it."""

    every: ClassVar[int] = 1
    """Default interval in steps of its player; ``--reg NAME:every=16`` sets it."""

    unaveraged_buffers: ClassVar[tuple[str, ...]] = ()
    """Buffers of this module that are never averaged, such as a queue; modules of any part may have this attribute.

    With ``--accumulate`` and ``--gpus`` such a buffer keeps the value of the last microbatch. The EMA copies it.
    """

    def discriminator(self, step: Step) -> Tensor | None:
        """Return the discriminator's penalty, a scalar ``[]`` with a gradient, or None."""
        return None

    def generator(self, step: Step) -> Tensor | None:
        """Return the generator's penalty, a scalar ``[]`` with a gradient, or None."""
        return None

    def update(self, collected: Mapping[str, Tensor]) -> None:
        """Update buffers after a step of a player, from what the step collected of the whole batch.

        Called once a step if `Step.collect` was, with the rows of all microbatches and processes in order.
        """

    def constrain(self, discriminator: Discriminator) -> None:
        """Project the discriminator's weights; called after each of its steps."""


class Augmentation(nn.Module, ABC):
    """A transformation of real and generated examples before the discriminator.

    The constructor is ``__init__(self, data: DataSpec, *, options...)``; raise ``ValueError`` for unsupported data.
    It must be differentiable. Buffers are saved with the run.
    """

    probability: ClassVar[float] = 1.0
    """Default share of transformed examples; ``--augment NAME:probability=0.5`` sets it."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Transform examples ``[N, ...]`` independently, to the same shape."""

    def update(self, logits: Pair) -> None:
        """Update the state from the discriminator's logits ``[N]`` after its step."""


Situation = Literal["few", "cpu"]
"""Situation of a new run for which a recipe may have other settings."""


@dataclass(frozen=True)
class Recipe:
    """Parts and hyperparameters under one name.

    Attributes:
        summary: Description in one line.
        source: The paper, as authors, year and title.
        settings: Configuration by section, such as
            ``{"generator": {"name": "dcgan", "width": 64}, "optimizer": {"beta1": 0.5}}``.
        variants: Further settings of new runs, by situation, such as ``{"cpu": {"training": {"batch": 16}}}``. They
            replace those of `settings`; what a user sets replaces both, and a user's augmentations and regularizers
            replace all of a variant. Settings of a player or loss apply to the recipe's own only. The run stores the
            result. Situations are ``few``, fewer than 5,000 examples, and ``cpu``, training on a CPU, which replaces
            ``few`` where both set an option.
    """

    summary: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    variants: Mapping[Situation, Mapping[str, Any]] = field(default_factory=dict)
