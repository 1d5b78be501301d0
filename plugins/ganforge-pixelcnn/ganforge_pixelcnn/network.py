"""The network: predicts each pixel from those above and to the left, and draws pixel by pixel."""

from __future__ import annotations

import torch
from ganforge import DataSpec, Generator
from torch import Tensor, nn

from ganforge_pixelcnn.causal import CausalConv, GatedBlock, concat_elu
from ganforge_pixelcnn.mixture import LogisticMixture


class PixelCNN(Generator):
    """Two streams of gated blocks: one sees all rows above, the other also the pixels to the left.

    A latent holds the random numbers of an image, so images depend on seeds as those of any generator.

    Args:
        data: Images with 1 or 3 channels.
        width: Channels of a stream; 160 in the paper.
        blocks: Gated blocks of each stream.
        mixtures: Logistic distributions per pixel; 10 in the paper.
        dropout: Share of dropped numbers in training; 0.5 in the paper.
    """

    def __init__(
        self, data: DataSpec, *, width: int = 48, blocks: int = 5, mixtures: int = 5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if len(data.shape) != 3 or data.shape[0] not in (1, 3):
            raise ValueError(f"examples are {data.shape}, but must be images with 1 or 3 channels")
        for name, value in (("width", width), ("blocks", blocks), ("mixtures", mixtures)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        self.channels, self.height, self.edge = data.shape
        self.width = width
        self.mixture = LogisticMixture(self.channels, mixtures)
        self.z_dim = self.height * self.edge * (1 + self.channels)
        seen = self.channels + 1  # a channel of ones shows where the image ends
        self.rows_above = CausalConv(seen, width, 1, 1, 1)
        self.row_above = CausalConv(seen, width, 0, 1, 1)
        self.to_the_left = CausalConv(seen, width, 1, 0, 0)
        self.above = nn.ModuleList(GatedBlock(width, dropout, right=1, aside=False) for _ in range(blocks))
        self.left = nn.ModuleList(GatedBlock(width, dropout, right=0, aside=True) for _ in range(blocks))
        self.last = nn.Conv2d(2 * width, self.mixture.num_parameters, 1)

    def predict(self, images: Tensor) -> Tensor:
        """Return parameters of the mixture ``[N, P, H, W]`` of each pixel, given those before it in rows."""
        seen = torch.cat([images, torch.ones_like(images[:, :1])], dim=1)
        above = _shift_down(self.rows_above(seen))
        left = _shift_down(self.row_above(seen)) + _shift_right(self.to_the_left(seen))
        for first, second in zip(self.above, self.left, strict=True):
            above = first(above)
            left = second(left, above)
        maps: Tensor = self.last(concat_elu(left))
        return maps

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Draw images ``[N, C, H, W]`` of 256 levels; every layer keeps its maps, so a pixel costs one small pass."""
        uniform = (0.5 * (1.0 + torch.erf(z * 0.5**0.5))).clamp(1e-5, 1.0 - 1e-5)
        uniform = uniform.view(z.shape[0], self.height, self.edge, 1 + self.channels)
        image = torch.zeros([z.shape[0], self.channels, self.height, self.edge], dtype=z.dtype, device=z.device)
        seen = torch.cat([image, torch.ones_like(image[:, :1])], dim=1)
        above_cache = self.rows_above.allocate(z.shape[0], self.height, self.edge)
        left_cache = self.to_the_left.allocate(z.shape[0], self.height, self.edge)
        caches = [len(self.above), 2, z.shape[0], 2 * self.width, self.height + 1, self.edge + 2]
        above_caches = torch.zeros(caches, dtype=z.dtype, device=z.device)
        left_caches = torch.zeros_like(above_caches[..., 1:])
        blank = torch.zeros_like(seen[:, :1, :1]).expand(-1, self.width, -1, -1)
        for y in range(self.height):
            # The first stream sees the rows above, so a row of it is computed at once.
            above, beside = blank, blank
            if y > 0:
                above = self.rows_above(seen[:, :, y - 1 : y], above_cache, y - 1)
                beside = self.row_above(seen[:, :, y - 1 : y])
            rows: list[Tensor] = []
            for index, first in enumerate(self.above):
                above = first(above, None, (above_caches[index, 0], above_caches[index, 1]), y)
                rows.append(above)
            for x in range(self.edge):
                left = beside[:, :, :, x : x + 1]
                if x > 0:
                    left = left + self.to_the_left(seen[:, :, y : y + 1, x - 1 : x], left_cache, y, x - 1)
                for index, second in enumerate(self.left):
                    pair = (left_caches[index, 0], left_caches[index, 1])
                    left = second(left, rows[index][:, :, :, x : x + 1], pair, y, x)
                parameters = self.last(concat_elu(left))[:, :, 0, 0]
                seen[:, :-1, y, x] = self.mixture.draw(parameters, uniform[:, y, x])
        return seen[:, :-1]


def _shift_down(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[:, :, :1]), x[:, :, :-1]], dim=2)


def _shift_right(x: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(x[:, :, :, :1]), x[:, :, :, :-1]], dim=3)
