"""Interface of extractors, which compute the features that metrics compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn


class Extractor(nn.Module, ABC):
    """A frozen network that computes features of images.

    The constructor is ``__init__(self, data: DataSpec, *, options...)``. It may raise ``ValueError`` for unsupported
    data.

    Attributes:
        label: Name in results: the Frechet distance is ``fd_LABEL``. Values of one label must be comparable, so include
            the data or the weights file if features depend on it.
        preprocessing: Description of resizing and range.
        weights_sha256: SHA-256 of the weights file; if empty, the digest of the tensors is used.
        notes: Sentences about limits of comparability.
        origin: Name, options and digest of the code; set by ganforge, and part of the key of cached features.
    """

    label: str
    preprocessing: str
    weights_sha256: str = ""
    notes: tuple[str, ...] = ()
    origin: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute features of each image independently and deterministically.

        Args:
            images: uint8 ``[N, C, H, W]`` in [0, 255]. A projection passes the same values as float32 for gradients.

        Returns:
            Features float32 ``[N, D]`` with D of at least 2; and logits ``[N, K]`` of a classifier, else None.
        """
