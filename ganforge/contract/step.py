"""Context of one optimization step, which regularizers are given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ganforge.contract.capabilities import ExtraOutputs
from ganforge.contract.networks import Discriminator, FeatureDiscriminator, Generator


class Pair:
    """Values of real and generated examples, each computed on first access.

    Args:
        real: Value of the real examples, or a function that computes it once.
        fake: Value of the generated examples, or a function that computes it once.
    """

    def __init__(self, real: Tensor | Callable[[], Tensor], fake: Tensor | Callable[[], Tensor]) -> None:
        self._real = real
        self._fake = fake

    @cached_property
    def real(self) -> Tensor:
        """Value of the real examples."""
        return self._real if isinstance(self._real, Tensor) else self._real()

    @cached_property
    def fake(self) -> Tensor:
        """Value of the generated examples."""
        return self._fake if isinstance(self._fake, Tensor) else self._fake()


class Step:
    """Context of one optimization step of one player, for `Regularizer`.

    Attributes:
        generator: The generator.
        discriminator: The discriminator; frozen in steps of the generator.
        latents: Latents ``[N, z_dim]`` of the generated examples.
        labels: Classes ``[N]``, vectors ``[N, K]`` or source images ``[N, *source_shape]`` of both real and generated
            examples; or None.
        images: Examples ``[N, ...]``. In the discriminator's step both sides are leaves that require gradients.
        count_images: Returns `images_seen`.
        augment: Differentiable augmentation of examples ``[N, ...]`` for the discriminator.
        labelled: Real examples ``[M, ...]`` and their classes ``[M]`` for a classifier: those of the step, or with
            ``training.labels`` drawn from the labeled subset (then `labels` is None). None for unlabeled data.
        compute: Calls ``function(*inputs)`` in the discriminator's precision and returns at least float32. Use it for
            networks of a part too.
        networks: Further networks of the recipe, by name.
        logged: Scalars of `log`, by name.
        collected: Values of `collect`, by name.
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
        compute: Callable[..., Tensor] = lambda function, *inputs: function(*inputs),
        networks: Mapping[str, Generator | Discriminator] = MappingProxyType({}),
        extras: Callable[[], Sequence[Tensor]] = tuple,
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
        self.networks = networks
        self._extras = extras
        self.logged: dict[str, Tensor] = {}
        self.collected: dict[str, Tensor] = {}

    @property
    def images_seen(self) -> int:
        """Real images shown to the discriminator so far in the run."""
        return self._count_images()

    @cached_property
    def extras(self) -> list[Pair]:
        """Extra outputs ``[N, ...]`` of an `ExtraOutputs` generator, and those that correspond to the real examples.

        Those of the generated examples are of the same forward pass as `images`. Augmentations are not applied.
        """
        if not isinstance(self.generator, ExtraOutputs):
            return []
        real = cache(partial(self.generator.extras_of, self.images.real, self.labels))
        return [Pair(lambda index=index: real()[index], fake) for index, fake in enumerate(self._extras())]  # type: ignore[misc]

    @cached_property
    def augmented(self) -> Pair:
        """Augmented examples ``[N, ...]`` of both sides, of which `logits` and `features` are."""
        return Pair(lambda: self.augment(self.images.real), lambda: self.augment(self.images.fake))

    @cached_property
    def logits(self) -> Pair:
        """Logits ``[N]`` of both sides, computed on first access and shared."""
        return Pair(lambda: self._judge("real"), lambda: self._judge("fake"))

    def scales(self) -> list[tuple[Pair, float]]:
        """Return the logits of each of the discriminator's scales with its weight; without scales all, with 1."""
        groups = self.discriminator.scales
        if not groups:
            return [(self.logits, 1.0)]
        counts = [count for count, _ in groups]

        def take(side: str, index: int) -> Tensor:
            logits: Tensor = getattr(self.logits, side)
            return torch.split(logits.view(-1, sum(counts)), counts, dim=1)[index].flatten()

        return [
            (Pair(partial(take, "real", index), partial(take, "fake", index)), weight)
            for index, (_, weight) in enumerate(groups)
        ]

    @cached_property
    def features(self) -> Pair:
        """Last hidden layer ``[N, F]`` of both sides; `logits` reuses the same forward pass.

        Raises:
            TypeError: The discriminator is not a `FeatureDiscriminator`.
        """
        network = self.discriminator
        if not isinstance(network, FeatureDiscriminator):
            raise TypeError(f"{type(network).__name__} has no features; derive it from FeatureDiscriminator")
        return Pair(lambda: self._run_side(network.features, "real"), lambda: self._run_side(network.features, "fake"))

    def log(self, name: str, value: Tensor | float) -> None:
        """Log a scalar; metrics and loggers get its mean since the last tick, as ``PLAYER/REGULARIZER/NAME``.

        The value is detached, without synchronizing the device. Log the same names in every step::

            step.log("gradient_norm", norms.mean())

        Args:
            name: Printable text.
            value: Tensor of shape ``[]``, or a number. The last value of a step counts.

        Raises:
            ValueError: Not a scalar, or the name is not printable.
        """
        if not name or not name.isprintable():
            raise ValueError(f"step.log: the name {name!r} is not printable text")
        if not isinstance(value, Tensor):
            self.logged[name] = self.latents.new_full((), float(value))
        elif value.dim() == 0:
            self.logged[name] = value.detach().to(self.latents, copy=True)
        else:
            raise ValueError(f"step.log: '{name}' has shape {tuple(value.shape)}; log a scalar, such as its mean")

    def collect(self, name: str, values: Tensor) -> None:
        """Give values of this step to `Regularizer.update`, which gets those of the whole batch.

        So a pool of earlier images or a queue of features is the same with ``--accumulate`` and ``--gpus``::

            step.collect("images", step.images.fake)

        Args:
            name: Name in the mapping that ``update`` gets.
            values: Tensor ``[N, ...]`` with a row for each example of the step; detached.
        """
        self.collected[name] = values.detach()

    def release(self) -> None:
        """Drop computed values, whose reference cycle keeps the graph until Python's garbage collector runs."""
        for name in ("augmented", "logits", "features"):
            self.__dict__.pop(name, None)

    def judge(self, images: Tensor, *, augment: bool = True) -> Tensor:
        """Return logits ``[N]`` of other examples ``[N, ...]`` with the same labels, such as interpolates.

        A discriminator of extra outputs gets those that correspond to them.

        Args:
            images: Examples.
            augment: Whether to augment them; not if they are made of `augmented`.
        """
        generator = self.generator
        extras = generator.extras_of(images, self.labels) if isinstance(generator, ExtraOutputs) else []
        return self._run(self.discriminator, self.augment(images) if augment else images, extras)

    def _judge(self, side: str) -> Tensor:
        if isinstance(self.discriminator, FeatureDiscriminator):
            return self.compute(self.discriminator.head, getattr(self.features, side), self.labels)
        return self._run_side(self.discriminator, side)

    def _run_side(self, function: Callable[..., Tensor], side: str) -> Tensor:
        """Run the discriminator, or its features, on the augmented examples and extra outputs of a side."""
        return self._run(function, getattr(self.augmented, side), [getattr(each, side) for each in self.extras])

    def _run(self, function: Callable[..., Tensor], augmented: Tensor, extras: Sequence[Tensor]) -> Tensor:
        inputs: list[Any] = [augmented, self.labels]
        if extras and takes_extras(function):
            assert isinstance(self.generator, ExtraOutputs)
            inputs += map(self.augment, extras) if self.generator.augment_extras else extras
        return self.compute(function, *inputs)


def takes_extras(function: Callable[..., Tensor]) -> bool:
    """Return whether a discriminator, or its ``features``, takes more arguments than examples and labels."""
    called = function.forward if isinstance(function, nn.Module) else function
    return len(inspect.signature(called).parameters) > 2
