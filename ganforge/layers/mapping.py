"""Mapping network from latents to styles."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ganforge.layers.conditioning import require_labels
from ganforge.layers.equalized import EqualizedLinear
from ganforge.layers.pixel_norm import PixelNorm


class MappingNetwork(nn.Module):
    """Fully connected layers from latents z to style vectors w (Karras 2019, arXiv:1812.04948). Scriptable.

    Latents and label embeddings are normalized first. In training mode the network tracks the mean of w for truncation:
    the plain mean of the first ``1 / (1 - decay)`` batches, then an exponential moving average.

    Args:
        z_dim: Length of a latent vector.
        w_dim: Length of a style vector.
        num_layers: Number of layers, each with leaky ReLU 0.2.
        num_classes: Number of classes; 0 for unconditional, or with `embedding`.
        lr_multiplier: Relative learning rate; the paper's 0.01 stabilizes training.
        decay: Decay of the mean per batch.
        embedding: Module from labels to ``[N, embedding_dim]``, as of `embed_labels`; None for one of `num_classes`.
        embedding_dim: Length of an embedding; 0 for `z_dim`.

    Attributes:
        mean: Mean of w, ``[w_dim]``.
    """

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        *,
        num_layers: int = 8,
        num_classes: int = 0,
        lr_multiplier: float = 0.01,
        decay: float = 0.995,
        embedding: nn.Module | None = None,
        embedding_dim: int = 0,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.normalize = PixelNorm()
        self.embedding = nn.Embedding(num_classes, embedding_dim or z_dim) if num_classes else embedding
        sizes = [z_dim if self.embedding is None else z_dim + (embedding_dim or z_dim)] + [w_dim] * num_layers
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise(sizes):
            layers += [EqualizedLinear(size_in, size_out, gain=2**0.5, lr_multiplier=lr_multiplier), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers)
        self.mean: Tensor
        self.num_batches: Tensor
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Map latents ``[N, z_dim]`` and labels to style vectors ``[N, w_dim]``."""
        x: Tensor = self.normalize(z)
        if self.embedding is not None:
            x = torch.cat([x, self.normalize(self.embedding(require_labels(labels)))], dim=1)
        w: Tensor = self.layers(x)
        if self.training:
            self._track(w)
        return w

    def truncate(self, w: Tensor, num_styles: int, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        """Return a style for each layer, truncated: mean + truncation * (w - mean).

        Args:
            w: Style vectors ``[N, w_dim]``.
            num_styles: Number L of layers.
            truncation: 1 for no truncation, 0 for the mean style.
            cutoff: Number of the coarsest layers to truncate; -1 for all.

        Returns:
            ``[N, L, w_dim]``.
        """
        styles = w[:, None].expand(-1, num_styles, -1)
        if truncation == 1.0:
            return styles
        truncated = torch.lerp(self.mean, styles.to(self.mean.dtype), truncation)
        return truncated if cutoff < 0 else torch.cat([truncated[:, :cutoff], styles[:, cutoff:]], dim=1)

    def _track(self, w: Tensor) -> None:
        with torch.no_grad():
            self.num_batches.add_(1)
            share = self.num_batches.reciprocal().clamp(min=1.0 - self.decay)
            self.mean.add_(share * (w.mean(0) - self.mean))
