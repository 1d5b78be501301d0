"""Interfaces of data sets, and what data dictate to networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any


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
        source: What it is given to make it of: an image in the same forms, never a vector. Its size and channels may
            differ.
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
