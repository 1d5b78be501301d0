"""Interface of optimizers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Optimizer(ABC):
    """Update rule of a player's parameters.

    The constructor is ``__init__(self, *, options...)``. Learning rate, warm-up and gradient clipping are no options:
    the section ``optimizer`` sets them for every optimizer.
    """

    @abstractmethod
    def build(self, parameters: Sequence[nn.Parameter], lr: float | Tensor) -> torch.optim.Optimizer:
        """Create the optimizer of one player.

        Its state must be tensors, per parameter: they are saved by name with the run. A step with a non-finite gradient
        is skipped: by ``found_inf`` in fused optimizers of torch, by a restored copy in others.

        Args:
            parameters: Trainable parameters of the player.
            lr: Learning rate; on CUDA a tensor of shape ``[]``, which a captured step reads. Each group gets the
                scheduled rate as its ``lr`` before a step.
        """

    def group(self, images: int) -> Mapping[str, Any]:
        """Return entries of parameter groups after `images` images, such as scheduled betas; set before each step."""
        return {}
