"""Interfaces of losses, regularizers, augmentations and recipes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor, nn

from ganforge.contract.networks import Discriminator
from ganforge.contract.step import Pair, Step


class Loss(nn.Module, ABC):
    """What the two players minimise: scalars from logits.

    A loss asks for the side that it needs: one whose generator term never reads ``logits.real`` costs no forward pass
    for it. Write it in its stable form: softplus, not log of sigmoid. It never steps, logs or detaches.

    Both methods return a tensor of shape ``[]`` with a gradient. Buffers, such as a running mean, are saved with the
    run. Parameters are trained with the discriminator.
    """

    @abstractmethod
    def discriminator(self, logits: Pair) -> Tensor:
        """What the discriminator minimises: a scalar from logits ``[N]`` of real and of generated examples."""

    @abstractmethod
    def generator(self, logits: Pair) -> Tensor:
        """What the generator minimises: a scalar; ``logits.real`` carries no gradient to it."""


class Regularizer(nn.Module):
    """A penalty added to what a player minimises; it may look at everything in the `Step`.

    Implement one method or both. What it returns is multiplied by its weight, and by ``every`` on the steps on which it
    runs, so that a lazily applied penalty has the same expected gradient. The constructor is
    ``__init__(self, *, options...)``, or ``__init__(self, data: DataSpec, *, options...)``.

    Buffers are saved with the run; register them in the constructor. Parameters are trained with the discriminator, by
    its gradients alone. Those of a regularizer that implements `generator` alone are trained with the generator.
    """

    weight: ClassVar[float] = 1.0
    """Default weight; ``--reg NAME:weight=10`` changes it."""

    every: ClassVar[int] = 1
    """Default interval in steps of its player; ``--reg NAME:every=16`` changes it."""

    unaveraged_buffers: ClassVar[tuple[str, ...]] = ()
    """Buffers of this module that are never averaged, such as a queue; any module of any part may have this attribute.

    With ``--accumulate`` and ``--gpus`` such a buffer is as the last part of the batch left it. The generator's moving
    average copies it.
    """

    def discriminator(self, step: Step) -> Tensor | None:
        """A scalar ``[]`` with a gradient, for the discriminator to minimise besides its loss, or None."""
        return None

    def generator(self, step: Step) -> Tensor | None:
        """A scalar ``[]`` with a gradient, for the generator to minimise besides its loss, or None."""
        return None

    def constrain(self, discriminator: Discriminator) -> None:
        """Bring the discriminator back to where it may be; called after each of its steps."""


class Augmentation(nn.Module, ABC):
    """A change of examples, real and generated alike, before the discriminator judges them.

    The constructor is ``__init__(self, data: DataSpec, *, options...)``; raise ``ValueError`` for data that do not fit.
    Gradients pass through it, to the generator and to penalties by the examples. Buffers are saved with the run.
    """

    probability: ClassVar[float] = 1.0
    """Default share of examples that are changed; ``--augment NAME:probability=0.5`` sets it."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Change every example: ``[N, ...]`` to the same shape, each in its own way."""

    def update(self, logits: Pair) -> None:
        """Take note of the discriminator's logits ``[N]`` after its step."""


@dataclass(frozen=True)
class Recipe:
    """Names and tuned numbers that belong together, under one word.

    Attributes:
        summary: One line: what it is.
        source: The paper, as authors, year and title.
        settings: The same tree that a configuration file holds, such as
            ``{"generator": {"name": "dcgan", "width": 64}, "optimizer": {"beta1": 0.5}}``.
        training_on_cpu: Settings of the section ``training`` that replace those of `settings` when a new run trains on
            a CPU, such as ``{"batch": 16}``. A run stores the result, so a resume on another device keeps it.
    """

    summary: str
    source: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    training_on_cpu: Mapping[str, Any] = field(default_factory=dict)
