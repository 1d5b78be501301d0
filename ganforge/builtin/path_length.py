"""Path length regularization of style-based generators."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from ganforge import OptionError, Regularizer, Step, StyleGenerator, hookimpl


class PathLength(Regularizer):
    """Path length regularization (Karras 2020, arXiv:1912.04958, equation 4): E[(|J^T y| - a)^2], of the generator.

    J is the Jacobian of the synthesis by the styles w, y is normal noise in the shape of an image, and a is the running
    mean of |J^T y|. Two means make the weight independent of the network's size: y has variance 1 / (H W), and with L
    styles |.|^2 is the mean over them. A weight of 2 is the paper's gamma = ln 2 / (r^2 (ln r - ln 2)) at r x r pixels,
    where stylegan2 has L = 2 log2(r) - 2 styles: gamma = 2 / (r^2 L).

    Args:
        decay: Decay of the running mean, in [0, 1). The first 1 / (1 - decay) values have a plain mean.
        shrink: Factor by which the batch is reduced, to save time and memory.
    """

    weight: ClassVar[float] = 2.0
    every: ClassVar[int] = 4

    mean: Tensor
    count: Tensor

    def __init__(self, *, decay: float = 0.99, shrink: int = 2) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} must be at least 0 and below 1")
        if shrink < 1:
            raise ValueError(f"shrink={shrink} must be at least 1")
        self.decay = decay
        self.shrink = shrink
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def generator(self, step: Step) -> Tensor:
        generator = step.generator
        if not isinstance(generator, StyleGenerator):
            raise OptionError(
                f"regularizer 'path-length' needs styles, and {type(generator).__name__} has none",
                "use a subclass of StyleGenerator, such as stylegan2 or stylegan",
            )
        size = max(1, len(step.latents) // self.shrink)
        labels = None if step.labels is None else step.labels[:size]
        lengths = jacobian_lengths(generator, generator.mapping(step.latents[:size], labels))
        self.count += 1
        share = self.count.reciprocal().clamp(min=1 - self.decay)
        self.mean += share * (lengths.detach().mean() - self.mean)
        return (lengths - self.mean).square().mean()


def jacobian_lengths(generator: StyleGenerator, w: Tensor) -> Tensor:
    """Return |J^T y| ``[N]`` of styles ``[N, L, w_dim]``, differentiable; see `PathLength`."""
    images = generator.synthesis(w)
    y = torch.randn(images.shape, dtype=images.dtype, device=images.device) / images[0, 0].numel() ** 0.5
    (gradient,) = torch.autograd.grad((images * y).sum(), w, create_graph=True)
    lengths: Tensor = torch.linalg.vector_norm(gradient, dim=(1, 2)) / w.shape[1] ** 0.5
    return lengths


@hookimpl
def ganforge_regularizers() -> dict[str, type[Regularizer]]:
    return {"path-length": PathLength}
