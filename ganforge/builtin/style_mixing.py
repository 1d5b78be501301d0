"""What StyleGAN and StyleGAN2 share: from latents to styles, which are mixed in training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganforge import DataSpec, MappingNetwork, Recomputable, StyleGenerator, label_dim


class MixingGenerator(StyleGenerator, Recomputable):
    """A generator with a mapping network, truncation, and styles mixed in training; a network brings its `synthesis`.

    Args:
        data: Shape and classes of the images.
        num_styles: L, how many styles the network takes.
        z_dim: The network's option of this name, as are all that follow: length of a latent vector.
        w_dim: Length of a style vector.
        mapping_layers: Layers of the mapping network; at most 100.
        mixing: Share of examples in training whose finer layers take the style of other latents; in [0, 1].
        conditioning: ``none`` or ``input``: an embedding of the class is joined to the latents.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        num_styles: int,
        z_dim: int,
        w_dim: int,
        mapping_layers: int,
        mixing: float,
        conditioning: str,
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
        num_classes = label_dim(data, conditioning)
        self.mapper = MappingNetwork(z_dim, w_dim, num_layers=mapping_layers, num_classes=num_classes)

    def recomputable(self) -> list[nn.Module]:
        """The layers that take a style; a network keeps them as ``layers``."""
        return list(self.get_submodule("layers").children())

    def used_styles(self) -> int:
        """How many styles reach the image, from the coarsest on; fewer than L while a network grows."""
        return self.num_styles

    def mapping(self, z: Tensor, labels: Tensor | None = None, truncation: float = 1.0, cutoff: int = -1) -> Tensor:
        """Latents ``[N, z_dim]``, and classes ``[N]`` if it is conditional, to styles ``[N, L, w_dim]``."""
        styles: Tensor = self.mapper.truncate(self.mapper(z, labels), self.num_styles, truncation, cutoff)
        return styles

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        truncation: float = 1.0,
        cutoff: int = -1,
        noise: str = "fixed",
    ) -> Tensor:
        """Latents ``[N, z_dim]`` to images ``[N, C, H, W]`` in [-1, 1]; in training mode some of mixed styles."""
        w = self.mapping(z, labels, truncation, cutoff)
        if self.training and self.mixing > 0:
            w = self._mix(w, self.mapping(torch.randn_like(z), labels, truncation, cutoff))
        return self.synthesis(w, noise)

    def _mix(self, w: Tensor, other: Tensor) -> Tensor:
        """Styles ``[N, L, w_dim]`` that go over to those of others, in some examples, from a layer drawn for each."""
        count = len(w)
        crossover = torch.randint(1, self.used_styles(), [count, 1], device=w.device)
        mixed = torch.rand([count, 1], device=w.device) < self.mixing
        from_other = mixed & (torch.arange(self.num_styles, device=w.device) >= crossover)
        return torch.where(from_other[:, :, None], other, w)
