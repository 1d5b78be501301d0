"""The objective: negative log-likelihood of real images."""

from __future__ import annotations

from ganforge import Regularizer, Step
from torch import Tensor

from ganforge_pixelcnn.network import PixelCNN


class Likelihood(Regularizer):
    """Mean negative log-likelihood of real images in bits per dimension, of pixels with 256 levels."""

    def generator(self, step: Step) -> Tensor:
        if not isinstance(step.generator, PixelCNN):
            raise ValueError("needs the generator pixelcnn: use --arch pixelcnn")
        maps = step.compute(step.generator.predict, step.images.real)
        return step.generator.mixture.bits(maps.float(), step.images.real).mean()
