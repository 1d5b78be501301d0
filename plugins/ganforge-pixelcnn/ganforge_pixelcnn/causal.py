"""Causal convolutions: of whole maps in training, of one row or pixel while drawing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, pad


def concat_elu(x: Tensor) -> Tensor:
    """Return ELU of x and -x, with twice the channels."""
    return elu(torch.cat([x, -x], dim=1))


class CausalConv(nn.Module):
    """Convolution over a pixel, `left` and `right` neighbors, and `above` rows above. Scriptable."""

    def __init__(self, channels_in: int, channels_out: int, above: int, left: int, right: int) -> None:
        super().__init__()
        self.above, self.left, self.right = above, left, right
        self.conv = nn.Conv2d(channels_in, channels_out, (above + 1, left + 1 + right))

    def allocate(self, count: int, height: int, width: int) -> Tensor:
        """Return an empty cache of the padded inputs of `count` images."""
        shape = [count, self.conv.in_channels, height + self.above, width + self.left + self.right]
        return torch.zeros(shape, dtype=self.conv.weight.dtype, device=self.conv.weight.device)

    def forward(self, x: Tensor, cache: Tensor | None = None, row: int = 0, column: int = -1) -> Tensor:
        """Map ``[N, channels_in, H, W]`` to ``[N, channels_out, H, W]``.

        With a cache `x` is one row, or with a column one pixel; the cache holds what is above and to the left. Then
        `right` must be 0.
        """
        if cache is None:
            padded = pad(x, [self.left, self.right, self.above, 0])
        else:
            start = max(0, column) + self.left
            cache[:, :, row + self.above, start : start + x.shape[3]] = x[:, :, 0]
            padded = cache[:, :, row : row + self.above + 1]
            if column >= 0:
                padded = padded[:, :, :, column : column + self.left + 1]
            padded = padded.clone()  # the cache changes before a backward pass
        maps: Tensor = self.conv(padded)
        return maps


class GatedBlock(nn.Module):
    """Two causal convolutions with a gate, beside a skip connection. Scriptable.

    With `aside`, the second convolution also sees a pixel of another stream.
    """

    def __init__(self, width: int, dropout: float, right: int, aside: bool) -> None:
        super().__init__()
        self.first = CausalConv(2 * width, width, 1, 1, right)
        self.second = CausalConv(2 * width, 2 * width, 1, 1, right)
        self.aside = nn.Conv2d(2 * width, width, 1) if aside else None
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.second.conv.weight.mul_(0.1)  # so that a block starts near the identity

    def forward(
        self,
        x: Tensor,
        aside: Tensor | None = None,
        caches: tuple[Tensor, Tensor] | None = None,
        row: int = 0,
        column: int = -1,
    ) -> Tensor:
        """Map ``[N, width, H, W]`` to the same shape; `caches` and others as for `CausalConv`."""
        first, second = (None, None) if caches is None else caches
        maps = self.first(concat_elu(x), first, row, column)
        if self.aside is not None and aside is not None:
            maps = maps + self.aside(concat_elu(aside))
        both: Tensor = self.second(self.dropout(concat_elu(maps)), second, row, column)
        value, gate = both.chunk(2, dim=1)
        return x + value * gate.sigmoid()
