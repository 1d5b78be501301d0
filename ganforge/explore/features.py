"""Distances of images in the feature space of an extractor, for projections."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ganforge.contract.errors import OptionError
from ganforge.contract.extractor import Extractor

Distance = Callable[[Tensor, Tensor], Tensor]
"""Differentiable distances ``[N]`` of images ``[N, C, H, W]`` in [-1, 1] and targets ``[1, C, H, W]``."""


class FeatureDistance:
    r"""Relative squared distance of features, :math:`|f(x) - f(y)|^2 / |f(y)|^2`; a `Distance`.

    Args:
        extractor: Frozen network that takes float32 pixels in [0, 255] as it takes uint8.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor.eval()
        self._target: Tensor | None = None
        self._wanted = torch.empty(0)

    def __call__(self, images: Tensor, target: Tensor) -> Tensor:
        """Return distances ``[N]``; the features of a target are computed once.

        Raises:
            OptionError: The extractor is not differentiable, or computes other features of float32 pixels.
        """
        if target is not self._target:
            self._target, self._wanted = target, self._measure(target)
        found = self.extractor(_to_pixels(images))[0]
        if images.requires_grad and not found.requires_grad:
            raise self._error()
        distances: Tensor = (found - self._wanted).square().sum(1) / self._wanted.square().sum(1)
        return distances

    @torch.no_grad()
    def _measure(self, target: Tensor) -> Tensor:
        pixels = _to_pixels(target).round()
        wanted: Tensor = self.extractor(pixels.to(torch.uint8))[0]
        same: Tensor = self.extractor(pixels)[0]
        if bool(((same - wanted).square().sum(1) > 1e-6 * wanted.square().sum(1)).any()):
            raise self._error()
        return wanted

    def _error(self) -> OptionError:
        return OptionError(
            f"extractor '{self.extractor.label}' has no gradients: it must take float32 pixels in [0, 255]",
            "use another, or lpips",
        )


def _to_pixels(images: Tensor) -> Tensor:
    """Convert images in [-1, 1] to floats in [0, 255]; differentiable."""
    return ((images + 1) * 127.5).clamp(0, 255)
