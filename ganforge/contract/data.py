"""Interfaces of data sets, and the specification of data for networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Number:
    """One number of a condition vector.

    Attributes:
        name: Name, such as ``smile``.
        mean: Mean in the data.
        std: Standard deviation in the data; positive.
        examples: Values in at most 16 examples, which are the same examples for all numbers of a vector.
    """

    name: str
    mean: float = 0.0
    std: float = 1.0
    examples: tuple[float, ...] = ()


@dataclass(frozen=True)
class DataSpec:
    """Specification of the data.

    Attributes:
        shape: One example without the batch: ``(C, H, W)`` for images, ``(C, T)`` for signals, both in [-1, 1];
            ``(D,)`` for vectors.
        class_names: Names of the classes in the order of their labels; empty for unlabeled data.
        numbers: Numbers of the condition vector of each example; empty without vectors. Networks get vectors
            ``[N, len(numbers)]`` float32, as the data have them, in place of labels.
        source_shape: Shape ``(C, H, W)`` of the source image of each example; empty without sources. Networks get
            sources ``[N, *source_shape]`` in [-1, 1] in place of labels.
    """

    shape: tuple[int, ...]
    class_names: tuple[str, ...] = ()
    source_shape: tuple[int, ...] = ()
    numbers: tuple[Number, ...] = ()

    @property
    def is_image(self) -> bool:
        """True for images in [-1, 1], false for signals and vectors."""
        return len(self.shape) == 3

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 for unlabeled data."""
        return len(self.class_names)

    @property
    def is_conditional(self) -> bool:
        """True if networks get a class, a vector or a source image for each example."""
        return bool(self.class_names or self.numbers or self.source_shape)


@dataclass(frozen=True)
class Paired:
    """An example with a source image.

    Attributes:
        image: Target, in any of the forms that `Dataset` takes for an image.
        source: Input of the generator: an image in the same forms, not a vector. Its size and channels may differ.
    """

    image: Any
    source: Any


class Dataset(ABC):
    """A map-style data set with a fixed order.

    Any ``torch.utils.data.Dataset`` that yields the same items works as well. Whole batches are fetched by
    ``__getitems__(indices) -> list`` where it exists. A factory with an option ``resolution`` draws at that size, or at
    the longer edge of a rectangle; images of other sizes are cropped and resized.
    """

    class_names: tuple[str, ...] = ()
    """Names of the classes; empty for unlabeled data."""

    number_names: tuple[str, ...] = ()
    """Names of the numbers of condition vectors; empty for 0, 1, 2 and so on."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Return an example, a tuple of an example and its label, or a `Paired`.

        Returns:
            Image: ``PIL.Image``; uint8 or uint16 array or tensor ``[H, W]`` or ``[H, W, C]`` of any C; or float
                ``[H, W, C]`` in [-1, 1]. Signal: float ``[C, T]`` in [-1, 1]. Vector: float ``[D]``. Label: int in
                ``[0, len(class_names))``, or a condition vector: an array, tensor or list of K finite numbers.
        """

    def cache_key(self) -> str | None:
        """Return a text that changes with the examples, the key of packed data in the cache; None to pack each time."""
        return None

    def example_name(self, index: int) -> str:
        """Name an example in messages, such as by its file name."""
        return f"example {index}"

    def example_shape(self, index: int) -> tuple[int, ...] | None:
        """Return height, width and channels from a header, without decoding; None if unknown, or for `Paired`."""
        return None
