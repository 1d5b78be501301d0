"""What an extractor is: a part that turns images into features, by which sets of images are compared."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Extractor(nn.Module, ABC):
    """A frozen network by whose features sets of images are compared.

    The constructor is ``__init__(self, data: DataSpec, *, options...)``; `data` are the images that it is to be shown.
    It may raise ``ValueError`` if it has no use for such images.

    Attributes:
        label: Its name in results: a Frechet distance of its features is ``fd_LABEL``. Values of one label should be
            comparable, so a network that depends on the data, or on a file, says so in its label.
        preprocessing: How it brings images to its own size and range, in words.
        weights_sha256: SHA-256 of the file of its weights; if empty, the digest of its tensors takes its place.
        notes: What forbids comparing its values with others, in sentences.
    """

    label: str
    preprocessing: str
    weights_sha256: str = ""
    notes: tuple[str, ...] = ()

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features of images, computed apart from each other; the same images give the same features.

        Args:
            images: uint8 ``[N, C, H, W]`` in [0, 255].

        Returns:
            Features float32 ``[N, D]`` with D of 2 or more; and logits ``[N, K]`` if it is a classifier, else None.
        """
