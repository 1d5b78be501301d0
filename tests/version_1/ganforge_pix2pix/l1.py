"""How far what is made lies from what is wanted."""

from __future__ import annotations

from ganforge import OptionError, Regularizer, Step
from torch import Tensor


class L1(Regularizer):
    """The generator keeps to the image that is wanted: E[|x - G(source)|], a mean over pixels and channels.

    It sees to the coarse, which a discriminator of patches does not look at; alone it would blur. It needs pairs.
    """

    weight = 100.0

    def generator(self, step: Step) -> Tensor:
        """The mean absolute difference of both sides of ``step.images``, in [0, 2]; a scalar.

        Raises:
            OptionError: Examples come with no source, so nothing says which real one is wanted.
        """
        if step.labels is None or not step.labels.is_floating_point():
            raise OptionError(
                "regularizer 'l1': the data do not come in pairs, so no real example is the one that is wanted",
                "give data in pairs, such as --data pix2pix-folder, or leave it out",
            )
        return (step.images.fake - step.images.real).abs().mean()
