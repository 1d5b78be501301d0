"""Base class of StyleGAN and StyleGAN2: mapping network and style mixing."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge import DataSpec, MappingNetwork, Recomputable, StyleGenerator, embed_labels, label_dim


class MixingGenerator(StyleGenerator, Recomputable):
    """Generator with mapping network, truncation and style mixing; subclasses define `synthesis`.

    Args:
        data: Shape and classes of the images: any number of channels, a size that `map_sizes` takes, up to 1024 pixels.
        num_styles: Number L of styles.
        z_dim: Length of a latent vector; the paper has 512.
        w_dim: Length of a style vector; the paper has 512.
        width: Channels of the largest maps, 16 at 1024 pixels in the paper, doubled at each smaller size.
        max_width: Maximum number of channels.
        mapping_layers: Layers of the mapping network, at most 100.
        mixing: Share of training examples with mixed styles, in [0, 1].
        conditioning: Conditioning: none, or an embedding joined to the latents of the mapping network.
        embedding: Length of the embedding of a label; 0 for `z_dim`.
    """

    def __init__(
        self,
        data: DataSpec,
        num_styles: int,
        z_dim: int,
        w_dim: int,
        mapping_layers: int,
        mixing: float,
        conditioning: str,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        if mapping_layers > 100:
            raise ValueError(f"mapping_layers={mapping_layers} must be at most 100, such as 8")
        for name, value in (("z_dim", z_dim), ("w_dim", w_dim), ("mapping_layers", mapping_layers)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if not 0 <= mixing <= 1:
            raise ValueError(f"mixing={mixing} must be at least 0 and at most 1")
        self.z_dim = z_dim
        self.w_dim = w_dim
        self.mixing = mixing
        self.num_styles = num_styles
        embed = embed_labels(data, embedding or z_dim) if label_dim(data, conditioning) else None
        self.mapper = MappingNetwork(z_dim, w_dim, num_layers=mapping_layers, embedding=embed, embedding_dim=embedding)

    def recomputable(self) -> list[nn.Module]:
        return list(self.get_submodule("layers").children())

    def used_styles(self) -> int:
        """Number of styles that reach the image, from the coarsest; less than L while a network grows."""
        return self.num_styles

    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        styles: Tensor = self.mapper.truncate(self.mapper(z, labels), self.num_styles, truncation, cutoff)
        return styles

    def forward(
        self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1, noise: str = "fixed"
    ) -> Tensor:
        if not (self.training and self.mixing > 0):
            return self.synthesis(self.mapping(z, labels, truncation, cutoff), noise)
        twice = None if labels is None else torch.cat([labels, labels])
        w, other = self.mapping(torch.cat([z, torch.randn_like(z)]), twice, truncation, cutoff).chunk(2)
        return self.synthesis(self._mix(w, other), noise)

    def _mix(self, w: Tensor, other: Tensor) -> Tensor:
        """Mix styles ``[N, L, w_dim]`` from a random layer on, in some examples."""
        count = len(w)
        crossover = torch.randint(1, self.used_styles(), [count, 1], device=w.device)
        mixed = torch.rand([count, 1], device=w.device) < self.mixing
        from_other = mixed & (torch.arange(self.num_styles, device=w.device) >= crossover)
        return torch.where(from_other[:, :, None], other, w)
