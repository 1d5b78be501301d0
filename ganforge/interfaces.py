"""What the author of a plugin implements.

Everything here is public. A class's keyword-only constructor arguments are its options: their names, annotations and
defaults are what ``--set generator.width=96``, a TOML file and ``ganforge plugins info`` speak. Sizes that the data
dictate arrive apart from them, as a `DataSpec`.
"""

# No "from __future__ import annotations": TorchScript reads the annotations in a generator's body, and not as text.
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class DataSpec:
    """What the data dictate to the networks.

    Attributes:
        shape: One example without the batch: ``(C, H, W)`` for images, ``(D,)`` for vectors.
        class_names: Names of the classes in the order of their labels; empty if the data have none.
        source_shape: Of the image that each example comes with, ``(C, H, W)``; empty if they come alone. Such images
            take the place of labels: networks are given ``[N, *source_shape]`` in [-1, 1] where they would be given
            classes.
    """

    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    source_shape: tuple[int, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether an example is an image in [-1, 1], not a plain vector."""
        return len(self.shape) == 3

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for unlabelled data."""
        return len(self.class_names)

    @property
    def is_conditional(self) -> bool:
        """Whether networks are told something of each example: its class, or the image that it comes with."""
        return bool(self.class_names or self.source_shape)


@dataclass(frozen=True)
class Paired:
    """An example that comes with an image, from which it is to be made.

    Attributes:
        image: What a generator is to make, in any of the forms that `Dataset` takes for an image.
        source: What it is given to make it of, likewise; it may have another size and other channels.
    """

    image: Any
    source: Any


class Dataset(ABC):
    """A source of examples with a fixed order.

    Any map-style ``torch.utils.data.Dataset`` that yields the same items will do; this class only spells out what is
    read. Where a source offers ``__getitems__(indices) -> list``, whole batches are fetched through it.
    A factory with an option named ``resolution`` draws at that size itself; other images are cropped and resized.
    """

    class_names: tuple[str, ...] = ()
    """Names of the classes; leave empty for unlabelled data."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """One example, or a pair of it and its label, or a `Paired`.

        Returns:
            An image as a ``PIL.Image``, as uint8 ``[H, W]`` or ``[H, W, C]`` array or tensor with C of 1, 3 or 4;
            or a float vector ``[D]``. The label is an int in ``[0, len(class_names))``.
        """

    def cache_key(self) -> str | None:
        """Text that changes whenever the examples do, by which packed data are found again; None to pack each time."""
        return None

    def example_name(self, index: int) -> str:
        """What to call an example in a message, such as the name of its file."""
        return f"example {index}"

    def example_shape(self, index: int) -> tuple[int, ...] | None:
        """Height, width and channels, told by a header without decoding; None to have some examples looked at.

        A data set that yields a `Paired` leaves this as it is.
        """
        return None


class Generator(nn.Module, ABC):
    """A network from latent vectors to examples.

    The constructor is ``__init__(self, data: DataSpec, *, options...)`` and sets `z_dim`. What is more than the plain
    forward is declared by an argument: one whose ``forward`` takes ``truncation: float = 1.0`` can be truncated.
    """

    z_dim: int
    """Length of a latent vector; latents are drawn from N(0, 1)."""

    @abstractmethod
    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Generate one example for each latent vector. Must be scriptable by TorchScript.

        Args:
            z: Latents ``[N, z_dim]``.
            labels: Classes ``[N]`` int64; or, of data in pairs, the sources ``[N, *source_shape]`` in [-1, 1]; or None.

        Returns:
            Images ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
        """


class Discriminator(nn.Module, ABC):
    """A network that judges examples. The constructor is ``__init__(self, data: DataSpec, *, options...)``."""

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge examples: logits, never probabilities; higher is more real.

        Args:
            images: Examples ``[N, C, H, W]`` in [-1, 1], or vectors ``[N, D]``.
            labels: Classes ``[N]`` int64; or, of data in pairs, the sources ``[N, *source_shape]`` in [-1, 1]; or None.

        Returns:
            Logits ``[N]``; a network that judges packs of m examples at once returns ``[N / m]``, one that judges each
            of P patches of an example ``[N * P]``.
        """


class FeatureDiscriminator(Discriminator):
    """A discriminator whose last hidden layer can be asked for; `forward` is ``head(features)``."""

    @abstractmethod
    def features(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden layer ``[N, F]`` for the arguments of `forward`."""

    @abstractmethod
    def head(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[N]`` from features ``[N, F]``."""

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Judge examples; see `Discriminator.forward`."""
        return self.head(self.features(images, labels), labels)


class ClassifierDiscriminator(FeatureDiscriminator):
    """A discriminator that also tells classes apart, as the regulariser ``auxiliary`` asks for."""

    @abstractmethod
    def classify(self, features: Tensor) -> Tensor:
        """Scores ``[N, K]`` of the K classes from features ``[N, F]``; their softmax is P(class | example).

        Raises:
            OptionError: The network was made without a classifier.
        """


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


class Loss(nn.Module, ABC):
    """What the two players minimise: pure functions of logits.

    A loss asks for the side that it needs: one whose generator term never reads ``logits.real`` costs no forward pass
    for it. Write it in its stable form: softplus, not log of sigmoid. It never steps, logs or detaches.
    """

    @abstractmethod
    def discriminator(self, logits: Pair) -> Tensor:
        """What the discriminator minimises: a scalar from logits ``[N]`` of real and of generated examples."""

    @abstractmethod
    def generator(self, logits: Pair) -> Tensor:
        """What the generator minimises: a scalar; ``logits.real`` carries no gradient to it."""


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
            least, whatever kind of numbers the trainer had it computed in.
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

    def judge(self, images: Tensor) -> Tensor:
        """Logits ``[N]`` of other examples ``[N, ...]`` with the same labels, such as interpolates."""
        return self.compute(self.discriminator, self.augment(images), self.labels)

    def _judge(self, side: str) -> Tensor:
        if isinstance(self.discriminator, FeatureDiscriminator):
            return self.compute(self.discriminator.head, getattr(self.features, side), self.labels)
        return self.judge(getattr(self.images, side))


class Regularizer(nn.Module):
    """A penalty added to what a player minimises; it may look at everything in the `Step`.

    Implement one method or both. What it returns is multiplied by its weight, and by ``every`` on the steps on which it
    runs, so that a lazily applied penalty has the same expected gradient. Buffers are saved with the run.
    """

    weight: ClassVar[float] = 1.0
    """Default weight; ``--reg NAME:weight=10`` changes it."""

    every: ClassVar[int] = 1
    """Default interval in steps of its player; ``--reg NAME:every=16`` changes it."""

    def discriminator(self, step: Step) -> Tensor | None:
        """A scalar for the discriminator to minimise besides its loss, or None."""
        return None

    def generator(self, step: Step) -> Tensor | None:
        """A scalar for the generator to minimise besides its loss, or None."""
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
