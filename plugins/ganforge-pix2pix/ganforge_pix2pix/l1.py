"""L1 distance between generated and target images."""

from __future__ import annotations

from ganforge import OptionError, Regularizer, Step
from torch import Tensor


class L1(Regularizer):
    """L1 distance to the target image: E[|x - G(source)|], a mean over pixels and channels, in [0, 2].

    It controls low frequencies, which a patch discriminator does not see; alone it gives blurred images.

    Raises:
        OptionError: The data are not paired.
    """

    weight = 100.0

    def generator(self, step: Step) -> Tensor:
        if step.labels is None or not step.labels.is_floating_point():
            raise OptionError(
                "regularizer 'l1': the data are not paired, so there is no target image",
                "use paired data, such as --data pix2pix-folder, or remove l1",
            )
        return (step.images.fake - step.images.real).abs().mean()
