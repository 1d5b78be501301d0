"""Self-supervision of the discriminator (section 3.2)."""

from __future__ import annotations

import torch
from ganforge import Regularizer, Step
from torch import Tensor
from torch.nn.functional import l1_loss

from ganforge_fastgan.layers import pick_quarter, shrink
from ganforge_fastgan.networks import FastGANDiscriminator


class Reconstruction(Regularizer):
    """Mean absolute difference of real images and their reconstructions from the discriminator's maps.

    One decoder draws the whole image from the smallest maps, another a random quarter from the same quarter of larger
    maps. Images are augmented, with random numbers of their own.
    """

    def discriminator(self, step: Step) -> Tensor:
        network = step.discriminator
        if not isinstance(network, FastGANDiscriminator):
            raise ValueError("needs discriminator fastgan: use --arch fastgan")
        images = step.augment(step.images.real.detach())
        below, right = (torch.rand(2, len(images), device=images.device) < 0.5).unbind()
        found = step.compute(network.reconstruct, images, below, right)
        quarters = shrink(pick_quarter(images, below, right), max(1, network.factor // 2))
        return l1_loss(found, torch.stack([shrink(images, network.factor), quarters], 1))
