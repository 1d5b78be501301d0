"""Context of one optimization step, which regularizers are given."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from torch import Tensor

from ganforge.contract.networks import Discriminator, FeatureDiscriminator, Generator


class Pair:
    """Something of the real examples and the same of the generated ones, each computed when first asked for.

    Args:
        real: The real side, or a function that computes it once.
        fake: The generated side, likewise.
    """

    def __init__(self, real: Tensor | Callable[[], Tensor], fake: Tensor | Callable[[], Tensor]) -> None:
        self._real = real
        self._fake = fake

    @cached_property
    def real(self) -> Tensor:
        """Of the real examples."""
        return self._real if isinstance(self._real, Tensor) else self._real()

    @cached_property
    def fake(self) -> Tensor:
        """Of the generated examples."""
        return self._fake if isinstance(self._fake, Tensor) else self._fake()


def _plainly(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    return function(*inputs)


class Step:
    """All that one optimisation step of one player is about; what a `Regularizer` is given.

    Attributes:
        generator: The generator.
        discriminator: The discriminator; frozen while the generator steps.
        latents: ``[N, z_dim]``, from which the generated examples came.
        labels: Classes ``[N]`` of real and of generated examples alike, or sources ``[N, *source_shape]`` of both; None
            for data that have neither.
        images: Examples ``[N, ...]``. In the discriminator's step both sides are leaves that take gradients.
        logits: ``discriminator(images)``, computed when first asked for and shared by all who ask.
        count_images: Gives `images_seen`.
        augment: What is done to examples ``[N, ...]`` before the discriminator judges them; differentiable.
        labelled: Real examples ``[M, ...]`` and their classes ``[M]``, for a classifier to learn from: those of the
            step, unless few labels may be used (``training.labels``); then `labels` is None, and these are drawn from
            the few. None for unlabelled data.
        compute: How the discriminator is run: ``compute(function, *inputs)`` gives ``function(*inputs)``, in float32 at
            least, whatever kind of numbers the trainer had it computed in. A part may run networks of its own by it.
        logged: Scalars that `log` was given, by name.
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        *,
        images: Pair,
        latents: Tensor,
        labels: Tensor | None = None,
        count_images: Callable[[], int] = int,
        augment: Callable[[Tensor], Tensor] = lambda images: images,
        labelled: tuple[Tensor, Tensor] | None = None,
        compute: Callable[..., Tensor] = _plainly,
    ) -> None:
        self.generator = generator
        self.discriminator = discriminator
        self.images = images
        self.latents = latents
        self.labels = labels
        self._count_images = count_images
        self.augment = augment
        self.labelled = (images.real, labels) if labelled is None and labels is not None else labelled
        self.compute = compute
        self.logged: dict[str, Tensor] = {}

    @property
    def images_seen(self) -> int:
        """Real examples that the discriminator has been shown so far in the run."""
        return self._count_images()

    @cached_property
    def logits(self) -> Pair:
        """Logits ``[N]`` of both sides."""
        return Pair(lambda: self._judge("real"), lambda: self._judge("fake"))

    @cached_property
    def features(self) -> Pair:
        """Last hidden layer ``[N, F]`` of both sides; the logits are computed from the same pass.

        Raises:
            TypeError: The discriminator is no `FeatureDiscriminator`.
        """
        network = self.discriminator
        if not isinstance(network, FeatureDiscriminator):
            raise TypeError(f"{type(network).__name__} offers no features; it must be a FeatureDiscriminator")
        return Pair(
            lambda: self.compute(network.features, self.augment(self.images.real), self.labels),
            lambda: self.compute(network.features, self.augment(self.images.fake), self.labels),
        )

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a scalar; metrics and loggers get its mean since the last tick, as ``PLAYER/REGULARIZER/NAME``.

        It carries no gradient and does not wait for the device. Log the same names in every step::

            step.log("gradient_norm", norms.mean())

        Args:
            name: Printable text.
            value: A tensor of shape ``[]``, or a number. The last value of a step counts.

        Raises:
            ValueError: It is no scalar, or the name is not printable.
        """
        if not name or not name.isprintable():
            raise ValueError(f"step.log: the name {name!r} is not printable text")
        if not isinstance(value, Tensor):
            self.logged[name] = self.latents.new_full((), float(value))
        elif value.dim() == 0:
            self.logged[name] = value.detach().to(self.latents, copy=True)
        else:
            raise ValueError(f"step.log: '{name}' has shape {tuple(value.shape)}; log a scalar, such as its mean")

    def judge(self, images: Tensor) -> Tensor:
        """Logits ``[N]`` of other examples ``[N, ...]`` with the same labels, such as interpolates."""
        return self.compute(self.discriminator, self.augment(images), self.labels)

    def _judge(self, side: str) -> Tensor:
        if isinstance(self.discriminator, FeatureDiscriminator):
            return self.compute(self.discriminator.head, getattr(self.features, side), self.labels)
        return self.judge(getattr(self.images, side))
